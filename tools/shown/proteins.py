"""The reader of docs/proteins.md: a short protein and what belongs to it."""

from __future__ import annotations

import csv
from pathlib import Path

from omlab_protein.testing import structure_of
from tools.shown.reader import Reader, written

WILD = "MQIFVKTLTGKTITLEVEPSDTIENVKAKIQDKEGIPPDQQRLIFA"
DRAWN = ("MKTAYIAKQR", "GSHMLEDPVD", "AAWWKKLLTT", "MQIFVKTLTG", "PPQRSTVWYY", "LLKKEEDDAA", "MMHHTTGGCC", "YYFFWWLLII")
SPLITS = ("train", "train", "train", "train", "val", "val", "test", "test")


def files(folder: Path) -> None:
    """A wild type with what belongs to it, sequences with numbers, and two published layouts."""
    written(folder / "wild.fasta", ">wild", WILD)
    written(folder / "library.csv", "mutant", "Q2A", "I3L:F4W", "V5K")
    for name in ("family", "homologues"):
        written(folder / f"{name}.a3m", ">wild", WILD, *(f">h{n}\n{WILD[:n]}A{WILD[n + 1 :]}" for n in range(1, 9)))
    (folder / "1ubq.pdb").write_text(structure_of(WILD, seen=range(1, 30)).pdb)
    rows = (f"s{n},{letters},{40 + n},{split}" for n, (letters, split) in enumerate(zip(DRAWN, SPLITS, strict=True)))
    written(folder / "measured.csv", "id,sequence:sequence,target,split", *rows)
    titled = (f">P{n} ogt={30 + n} OX={n}\n{letters}" for n, letters in enumerate(DRAWN * 3))
    written(folder / "ogt.fasta", *titled)
    written(folder / "proteins.fasta", ">a", DRAWN[0], ">b", DRAWN[1])
    head = "DMS_id,DMS_filename,UniProt_ID,target_seq,coarse_selection_type,DMS_binarization_cutoff"
    written(folder / "DMS" / "DMS_substitutions.csv", head, f"a,a.csv,P,{WILD},Activity,0.5")
    written(folder / "DMS" / "tables" / "a.csv", "mutant,DMS_score", "Q2A,1", "I3L,0", "F4W,0.7", "V5K,0.2")
    written(folder / "tm_data" / "fasta" / "wild-7.fasta", ">wild", WILD)
    written(folder / "tm_data" / "mutant" / "wild-7.csv", "mutant,score", "Q2A,1", "I3L,-1", "F4W,2", "V5K,-3")


def filled(folder: Path, name: str) -> None:
    """Measure the mutants of a plate: write a number into its column `score`."""
    path = folder / name
    with path.open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    with path.open("w", newline="") as stream:
        table = csv.DictWriter(stream, fieldnames=list(rows[0]))
        table.writeheader()
        table.writerows({**row, "score": number % 7} for number, row in enumerate(rows))


PROTEINS = Reader(
    files=files,
    instead=[
        (r"\bprime(\.690m)?(?= )", "prime-tiny.untrained"),
        ("esm2-t33", "esm2-tiny.untrained"),
        ("(adapt .*)", r"\1 -s epochs=1"),
        ("--batch 96", "--batch 6"),
    ],
    between={
        "design mine/ wild.fasta measured=round0.csv --sites": lambda folder: filled(folder, "round0.csv"),
        "design mine/ wild.fasta measured=round0.csv measured=round1.csv": lambda folder: filled(folder, "round1.csv"),
    },
)
