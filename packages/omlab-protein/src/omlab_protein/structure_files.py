"""Structures from PDB and mmCIF files, and scores on them: a PDB file that a viewer colours by B factor."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from omlab.errors import InputError, MissingDependencyError, OutputError
from omlab.payloads import Inputs, Payload
from omlab_protein import sequence
from omlab_protein.positions import by_position
from omlab_protein.structure import Residue, Structure
from omlab_protein.variants import VariantScores

LOW, HIGH = -99.99, 999.99
"""What the B factor's column of a PDB file holds."""


class StructureFile:
    """The format `structure`."""

    def read(self, path: Path, *, kind: str, chain: str = "") -> Structure:
        """The chains of amino acids, or the one named. Raises `InputError` that names the file."""
        gemmi = _gemmi()
        try:
            found = gemmi.read_structure(str(path))
            found.setup_entities()
            chains = _chains(found[0], gemmi) if len(found) else {}
        except OSError as error:
            raise InputError(f"{path} cannot be read: {error.strerror or error}.") from None
        except (RuntimeError, ValueError, IndexError):
            raise InputError(f"{path} is no PDB or mmCIF file, or it is damaged.") from None
        if not chains:
            raise InputError(f"{path} has no protein chain: it is no structure of a protein, or not whole.")
        if chain:
            if chain not in chains:
                raise InputError(f"{path} has no protein chain '{chain}'; it has {', '.join(chains)}.")
            chains = {chain: chains[chain]}
        return Structure(pdb=found.make_pdb_string(), chains=chains, name=path.name)


class ColouredStructure:
    """The format `coloured-structure`: the mean score of a position's single variants as B factor, else 0."""

    def write(self, payload: Payload, path: Path, *, inputs: Inputs) -> None:
        """A PDB file. Raises `OutputError` without a structure and its sequence, or where the scores do not fit."""
        assert isinstance(payload, VariantScores)
        structure = next((one for one in inputs.values() if isinstance(one, Structure)), None)
        protein = next((one for one in inputs.values() if isinstance(one, sequence.Sequence)), None)
        if structure is None or protein is None:
            raise OutputError(f"{path.name} needs a structure to put the scores on: give structure=FILE.pdb.")
        means = {row.number: row.mean for row in by_position(payload.mutants, payload.scores)}
        if not means:
            raise OutputError("A structure is coloured by scores of single variants, but there is none.")
        low, high = min(means.values()), max(means.values())
        if low < LOW or high > HIGH:
            raise OutputError(f"Scores from {low:.2f} to {high:.2f} do not fit into B factors ({LOW} to {HIGH}).")
        places = structure.positions(protein.letters)
        found = _gemmi().read_pdb_string(structure.pdb)
        for model in found:
            for chain in model:
                for residue in chain:
                    key = (chain.name, residue.seqid.num, residue.seqid.icode.strip())
                    value = means.get(places.get(key, 0), 0.0)
                    for atom in residue:
                        atom.b_iso = value
        path.write_text(found.make_pdb_string(), encoding="ascii")


def _chains(model: Any, gemmi: Any) -> dict[str, tuple[Residue, ...]]:
    """The amino acids of each chain that has some; of alternative residues at one place the first."""
    found: dict[str, dict[tuple[int, str], Residue]] = {}
    for chain in model:
        for residue in chain:
            about = gemmi.find_tabulated_residue(residue.name)
            if about.is_amino_acid():
                number, insertion = residue.seqid.num, residue.seqid.icode.strip()
                letter = about.one_letter_code.strip().upper() or "X"
                found.setdefault(chain.name, {}).setdefault((number, insertion), Residue(number, insertion, letter))
    return {name: tuple(residues.values()) for name, residues in found.items()}


def _gemmi() -> Any:
    try:
        import gemmi
    except ImportError:
        raise MissingDependencyError("Structures need gemmi: pip install 'omlab-protein[structure]'.") from None
    return gemmi
