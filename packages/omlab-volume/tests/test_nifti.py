"""NIfTI: the affine is kept exactly, and what is wrong with a file is said in one sentence."""

from __future__ import annotations

import gzip
import json
import os
import struct
import warnings
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from omlab.errors import GeometryError, GeometryWarning, InputError, OmlabWarning, OutputError
from omlab_volume.io.nifti import Nifti
from omlab_volume.labels import labels_from_json, labels_from_names
from omlab_volume.volume import Code, Label, LabelMap, Volume

AXES = [
    (order, flips)
    for order in ((0, 1, 2), (0, 2, 1), (1, 0, 2), (1, 2, 0), (2, 0, 1), (2, 1, 0))
    for flips in ((a, b, c) for a in (1, -1) for b in (1, -1) for c in (1, -1))
]


def _affine(order: tuple[int, ...], flips: tuple[int, ...]) -> np.ndarray:
    affine = np.eye(4)
    affine[:3, :3] = np.eye(3)[:, list(order)] * np.array(flips) * np.array([0.75, 1.5, 3.0])
    affine[:3, 3] = (-100.25, 37.5, 12.0)
    return affine


def _save(path: Path, array: np.ndarray, affine: np.ndarray | None = None, **fields: object) -> Path:
    image = nib.Nifti1Image(array, np.eye(4) if affine is None else affine)
    for name, value in fields.items():
        image.header[name] = value
    nib.save(image, path)
    return path


@pytest.mark.parametrize(("order", "flips"), AXES)
def test_every_axis_order_and_flip_comes_back(tmp_path: Path, order: tuple[int, ...], flips: tuple[int, ...]) -> None:
    affine = _affine(order, flips)
    array = np.arange(2 * 3 * 4, dtype=np.int16).reshape(1, 2, 3, 4)
    Nifti().write(Volume(array=array, affine=affine), tmp_path / "v.nii")
    again = Nifti().read(tmp_path / "v.nii", kind="volume")
    assert np.array_equal(again.affine, affine)
    assert np.array_equal(again.array, array)
    header = nib.load(tmp_path / "v.nii").header
    assert header["sform_code"] == header["qform_code"] == 1
    assert np.allclose(header.get_qform(), affine, atol=1e-4)


@settings(max_examples=25, deadline=None)
@given(
    numbers=st.lists(st.floats(-3, 3, width=32), min_size=9, max_size=9),
    origin=st.lists(st.floats(-500, 500, width=32), min_size=3, max_size=3),
)
def test_any_affine_comes_back_to_the_last_bit(
    tmp_path_factory: pytest.TempPathFactory, numbers: list[float], origin: list[float]
) -> None:
    affine = np.eye(4)
    affine[:3, :3] = np.array(numbers).reshape(3, 3) + np.diag([4.0, -5.0, 6.0])
    affine[:3, 3] = origin
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    if lengths.min() < 0.1 or abs(np.linalg.det(affine[:3, :3] / lengths)) < 1e-2:
        return
    path = tmp_path_factory.mktemp("nifti") / "seg.nii.gz"
    labelmap = LabelMap(array=np.ones((3, 4, 5), np.uint8), affine=affine)
    Nifti().write(labelmap, path)
    again = Nifti().read(path, kind="labelmap")
    assert np.array_equal(again.affine, affine.astype(np.float32))


def test_a_sheared_affine_leaves_no_wrong_qform(tmp_path: Path) -> None:
    sheared = np.array([[1, 0.3, 0, 5], [0, 1, 0, 2], [0, 0.2, 2, 1], [0, 0, 0, 1.0]])
    Nifti().write(Volume(array=np.zeros((1, 9, 9, 9)), affine=sheared), tmp_path / "v.nii")
    assert nib.load(tmp_path / "v.nii").header["qform_code"] == 0
    assert np.allclose(Nifti().read(tmp_path / "v.nii", kind="volume").affine, sheared, atol=1e-6)


def test_labels_travel_inside_the_file(tmp_path: Path) -> None:
    labels = (
        Label(value=1, name="Leber (äußere)", colour=(1, 2, 255)),
        Label(value=300, name="spleen", code=Code(value="78961009", scheme="SCT", meaning="Spleen")),
    )
    array = np.zeros((3, 4, 5), np.int64)
    array[1, 2, 3] = 300
    Nifti().write(LabelMap(array=array, affine=np.eye(4), labels=labels), tmp_path / "seg.nii.gz")
    again = Nifti().read(tmp_path / "seg.nii.gz", kind="labelmap")
    assert again.labels == labels
    assert again.array.dtype == np.uint16
    assert np.array_equal(again.array, array)
    assert np.array_equal(np.asarray(nib.load(tmp_path / "seg.nii.gz").dataobj), array)


def test_small_labels_take_a_byte_and_the_same_map_the_same_bytes(tmp_path: Path) -> None:
    labelmap = LabelMap(array=np.full((3, 4, 5), 255, np.int32), affine=np.eye(4), labels=labels_from_names(["a"]))
    for name in ("a.nii.gz", "b.nii.gz"):
        Nifti().write(labelmap, tmp_path / name)
    assert nib.load(tmp_path / "a.nii.gz").get_data_dtype() == np.uint8
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()


def test_a_comment_of_another_writer_is_no_label(tmp_path: Path) -> None:
    image = nib.Nifti1Image(np.ones((2, 2, 2), np.uint8), np.eye(4))
    image.header.extensions.append(nib.nifti1.Nifti1Extension(6, b'{"labels": [{"value": "x"}]}'))
    nib.save(image, tmp_path / "seg.nii")
    assert Nifti().read(tmp_path / "seg.nii", kind="labelmap").labels == ()


def test_scaled_integers_are_scaled(tmp_path: Path) -> None:
    image = nib.Nifti1Image(np.arange(8, dtype=np.uint8).reshape(2, 2, 2), np.eye(4))
    image.header.set_slope_inter(2.5, -10)
    nib.save(image, tmp_path / "v.nii")
    stored = np.asarray(nib.load(tmp_path / "v.nii").dataobj)
    volume = Nifti().read(tmp_path / "v.nii", kind="volume")
    assert volume.array.dtype == np.float32
    assert np.allclose(volume.array[0], stored)


def test_big_endian_becomes_native(tmp_path: Path) -> None:
    header = nib.Nifti1Header(endianness=">")
    header.set_data_dtype(np.int16)
    nib.save(nib.Nifti1Image(np.arange(8, dtype=">i2").reshape(2, 2, 2), np.eye(4), header), tmp_path / "v.nii")
    array = Nifti().read(tmp_path / "v.nii", kind="volume").array
    assert array.dtype.isnative
    assert array.ravel().tolist() == list(range(8))


@pytest.mark.parametrize(
    ("shape", "wanted"),
    [
        ((2, 3), (1, 2, 3, 1)),
        ((2, 3, 4), (1, 2, 3, 4)),
        ((2, 3, 4, 5), (5, 2, 3, 4)),
        ((2, 3, 4, 1, 1), (1, 2, 3, 4)),
        ((2, 3, 4, 1, 3), (3, 2, 3, 4)),
    ],
)
def test_axes_become_channels(tmp_path: Path, shape: tuple[int, ...], wanted: tuple[int, ...]) -> None:
    array = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    volume = Nifti().read(_save(tmp_path / "v.nii", array), kind="volume")
    assert volume.array.shape == wanted
    assert volume.array[-1, 1, 2, -1] == array.reshape((*shape, 1, 1, 1))[1, 2, ...].ravel()[-1]
    Nifti().write(volume, tmp_path / "again.nii")
    assert np.array_equal(Nifti().read(tmp_path / "again.nii", kind="volume").array, volume.array)


def test_five_axes_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"v\.nii has 5 axes"):
        Nifti().read(_save(tmp_path / "v.nii", np.zeros((2, 2, 2, 2, 2), np.float32)), kind="volume")


@pytest.mark.parametrize(("unit", "factor"), [(1, 1000.0), (3, 0.001), (0, 1.0)])
def test_units_become_millimetres(tmp_path: Path, unit: int, factor: float) -> None:
    affine = np.array([[0.5, 0, 0, 7], [0, 0.5, 0, 8], [0, 0, 2, 9], [0, 0, 0, 1]])
    path = _save(tmp_path / "v.nii", np.zeros((2, 2, 2), np.float32), affine, xyzt_units=unit)
    assert np.allclose(Nifti().read(path, kind="volume").affine[:3], affine[:3] * factor)


def test_the_sform_wins_and_disagreement_is_said(tmp_path: Path) -> None:
    image = nib.Nifti1Image(np.zeros((4, 4, 4), np.float32), None)
    image.set_sform(np.diag([1.0, 1, 1, 1]), code=2)
    moved = np.diag([1.0, 1, 1, 1])
    moved[0, 3] = 3.0
    image.set_qform(moved, code=1)
    nib.save(image, tmp_path / "v.nii")
    with pytest.warns(GeometryWarning, match="disagree by up to 3 mm"):
        volume = Nifti().read(tmp_path / "v.nii", kind="volume")
    assert np.array_equal(volume.affine, np.eye(4))


def test_the_qform_is_used_without_an_sform(tmp_path: Path) -> None:
    affine = _affine((1, 0, 2), (1, -1, 1))
    image = nib.Nifti1Image(np.zeros((4, 4, 4), np.float32), None)
    image.set_qform(affine, code=1)
    image.header["sform_code"] = 0
    nib.save(image, tmp_path / "v.nii")
    assert np.allclose(Nifti().read(tmp_path / "v.nii", kind="volume").affine, affine, atol=1e-4)


def test_without_either_the_sizes_are_used_as_nibabel_does(tmp_path: Path) -> None:
    image = nib.Nifti1Image(np.zeros((4, 5, 6), np.float32), None)
    image.header.set_zooms((1.0, 2.0, 3.0))
    image.header["sform_code"] = image.header["qform_code"] = 0
    nib.save(image, tmp_path / "v.nii")
    with pytest.warns(GeometryWarning, match="neither by sform nor by qform"):
        volume = Nifti().read(tmp_path / "v.nii", kind="volume")
    assert np.allclose(volume.affine, nib.load(tmp_path / "v.nii").affine)


def test_the_codes_of_the_source_are_kept(tmp_path: Path) -> None:
    image = nib.Nifti1Image(np.zeros((4, 4, 4), np.float32), None)
    image.set_sform(np.eye(4), code=4)
    image.set_qform(np.eye(4), code=4)
    nib.save(image, tmp_path / "v.nii")
    source = Nifti().read(tmp_path / "v.nii", kind="volume")
    labelmap = LabelMap(array=np.zeros((4, 4, 4), np.uint8), affine=source.affine, source=source.source)
    Nifti().write(labelmap, tmp_path / "seg.nii")
    assert nib.load(tmp_path / "seg.nii").header["sform_code"] == 4


def test_a_singular_sform_is_refused_or_replaced(tmp_path: Path) -> None:
    image = nib.Nifti1Image(np.zeros((4, 4, 4), np.float32), None)
    image.set_sform(np.diag([2.0, 2, 2, 1]), code=1)
    image.set_qform(np.diag([2.0, 2, 2, 1]), code=1)
    nib.save(image, tmp_path / "v.nii")
    raw = bytearray((tmp_path / "v.nii").read_bytes())
    raw[280:328] = bytes(48)  # srow_x, srow_y, srow_z
    (tmp_path / "v.nii").write_bytes(raw)
    with pytest.warns(GeometryWarning, match="singular sform"):
        assert Nifti().read(tmp_path / "v.nii", kind="volume").grid.spacing == (2, 2, 2)
    raw[252:254] = b"\0\0"  # qform_code
    (tmp_path / "v.nii").write_bytes(raw)
    with pytest.raises(GeometryError, match="singular affine"):
        Nifti().read(tmp_path / "v.nii", kind="volume")


def test_nan_and_infinite_values_are_kept_and_said(tmp_path: Path) -> None:
    array = np.zeros((2, 2, 2), np.float32)
    array[0, 0, 0], array[1, 1, 1] = np.nan, np.inf
    path = _save(tmp_path / "v.nii", array)
    with pytest.warns(OmlabWarning, match="2 of 8 voxels are NaN or infinite"):
        assert np.isnan(Nifti().read(path, kind="volume").array[0, 0, 0, 0])
    with pytest.raises(InputError, match="NaN or infinite"):
        Nifti().read(path, kind="labelmap")


@pytest.mark.parametrize(
    ("value", "message"), [(-1.0, "negative values"), (0.5, "fractional values"), (70000.0, "labels go to 65535")]
)
def test_an_image_is_no_label_map(tmp_path: Path, value: float, message: str) -> None:
    with pytest.raises(InputError, match=message):
        Nifti().read(_save(tmp_path / "v.nii", np.full((2, 2, 2), value, np.float32)), kind="labelmap")


def test_whole_floats_are_a_label_map_and_channels_are_not(tmp_path: Path) -> None:
    path = _save(tmp_path / "seg.nii", np.full((2, 2, 2), 3.0, np.float64))
    assert Nifti().read(path, kind="labelmap").array.dtype == np.uint8
    with pytest.raises(InputError, match="4 channels"):
        Nifti().read(_save(tmp_path / "onehot.nii", np.zeros((2, 2, 2, 4), np.uint8)), kind="labelmap")


def test_colour_and_complex_images_are_refused(tmp_path: Path) -> None:
    rgb = np.zeros((2, 2, 2), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
    with pytest.raises(InputError, match="colour image"):
        Nifti().read(_save(tmp_path / "rgb.nii", rgb), kind="volume")
    with pytest.raises(InputError, match="complex numbers"):
        Nifti().read(_save(tmp_path / "c.nii", np.zeros((2, 2, 2), np.complex64)), kind="volume")


def _good_bytes(path: Path) -> bytes:
    values = np.random.default_rng(0).integers(0, 1000, (20, 20, 20)).astype(np.int16)
    return _save(path, values).read_bytes()


def test_damaged_files_are_refused_in_one_sentence(tmp_path: Path) -> None:
    plain, zipped = _good_bytes(tmp_path / "good.nii"), _good_bytes(tmp_path / "good.nii.gz")
    flipped = bytearray(zipped)
    flipped[len(flipped) // 2] ^= 0xFF
    wrong_magic = bytearray(plain)
    wrong_magic[344:348] = b"xyz\0"
    huge, empty = bytearray(plain), bytearray(plain)
    huge[42:48] = np.array([30000, 30000, 30000], "<i2").tobytes()
    empty[42:44] = b"\0\0"
    cases = {
        "truncated.nii.gz": (zipped[: len(zipped) // 2], "damaged or cut short"),
        "flipped.nii.gz": (bytes(flipped), "damaged or cut short"),
        "text.nii.gz": (b"this is no image at all", "not compressed with gzip; it is another kind"),
        "start.nii.gz": (zipped[:30], "damaged or cut short"),
        "zipped_text.nii.gz": (gzip.compress(b"this is no image" * 100), "is no NIfTI file"),
        "plain.nii.gz": (plain, "name it .nii"),
        "zipped.nii": (zipped, "name it .nii.gz"),
        "magic.nii": (bytes(wrong_magic), "is no NIfTI file"),
        "short.nii": (plain[:2000], "cut short"),
        "header.nii": (plain[:100], "is no NIfTI file"),
        "huge.nii": (bytes(huge), "cut short"),
        "huge.nii.gz": (gzip.compress(bytes(huge)), "cannot hold"),
        "zero.nii": (b"", "is empty"),
        "novoxels.nii": (bytes(empty), "holds no voxels"),
    }
    for name, (content, message) in cases.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(InputError, match=message) as caught:
            Nifti().read(tmp_path / name, kind="volume")
        assert name in str(caught.value)
        assert "\n" not in str(caught.value)


def test_a_missing_file_a_folder_and_an_unreadable_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="does not exist"):
        Nifti().read(tmp_path / "none.nii", kind="volume")
    with pytest.raises(InputError, match="is a folder"):
        Nifti().read(tmp_path, kind="volume")
    path = _save(tmp_path / "v.nii", np.zeros((2, 2, 2), np.uint8))
    path.chmod(0)
    if os.access(path, os.R_OK):
        pytest.skip("this user may read everything")
    with pytest.raises(InputError, match="may not be read"):
        Nifti().read(path, kind="volume")


def test_an_unknown_kind_or_suffix_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="not a 'text'"):
        Nifti().read(_save(tmp_path / "v.nii", np.zeros((2, 2, 2), np.uint8)), kind="text")
    with pytest.raises(OutputError, match=r"end in \.nii"):
        Nifti().write(Volume(array=np.zeros((1, 2, 2, 2)), affine=np.eye(4)), tmp_path / "v.img")


def test_a_failed_write_leaves_nothing(tmp_path: Path) -> None:
    volume = Volume(array=np.zeros((1, 2, 2, 2)), affine=np.eye(4))
    with pytest.raises(OutputError, match="cannot be written"):
        Nifti().write(volume, tmp_path / "no such folder" / "v.nii")
    assert list(tmp_path.iterdir()) == []


def test_wide_integers_and_halves_are_stored_in_common_types(tmp_path: Path) -> None:
    for dtype, wanted in ((np.int64, np.int32), (np.bool_, np.uint8), (np.float16, np.float32)):
        Nifti().write(Volume(array=np.ones((1, 2, 2, 2), dtype), affine=np.eye(4)), tmp_path / "v.nii")
        again = Nifti().read(tmp_path / "v.nii", kind="volume").array
        assert again.dtype == wanted
        assert again.min() == 1


def test_a_long_axis_becomes_nifti_2(tmp_path: Path) -> None:
    volume = Volume(array=np.ones((1, 40000, 1, 1), np.uint8), affine=np.eye(4))
    Nifti().write(volume, tmp_path / "v.nii")
    assert Nifti().read(tmp_path / "v.nii", kind="volume").array.shape == (1, 40000, 1, 1)


def test_real_images(shared_data: Path) -> None:
    path = shared_data / "ct-head-nifti" / "ct_avm.nii.gz"
    volume = Nifti().read(path, kind="volume")
    reference = nib.load(path)
    assert volume.array.shape == (1, 256, 242, 154)
    assert np.array_equal(volume.affine, reference.affine)
    assert np.allclose(volume.array[0, ::9, ::9, ::9], reference.get_fdata()[::9, ::9, ::9], atol=1e-3)
    assert volume.intensity == "unknown"


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["value", "name", "colour", "code"]), inner)
    ),
    max_leaves=8,
)


@settings(max_examples=60)
@given(rows=_JSON)
@example(rows=[{"value": 1, "name": 5}])
@example(rows=[{"value": 10**30, "name": "x"}])
@example(rows=[{"value": 1, "name": "x", "colour": [1, 2]}])
@example(rows=[5])
@example(rows=[{"value": float("inf"), "name": "x"}])
def test_labels_of_the_wrong_type_leave_the_voxels(rows: object) -> None:
    text = json.dumps({"omlab_labels": rows})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OmlabWarning)
        for label in labels_from_json(text, what="x.nii"):
            assert 0 <= label.value < 65536
            assert isinstance(label.name, str)
            assert label.colour is None or all(0 <= part < 256 for part in label.colour)


def test_damaged_names_of_labels_are_said(tmp_path: Path) -> None:
    image = nib.Nifti1Image(np.ones((3, 3, 3), np.uint8), np.eye(4))
    image.header.extensions.append(nib.nifti1.Nifti1Extension(6, b'{"omlab_labels": [{"value": "one"}]}'))
    nib.save(image, tmp_path / "seg.nii")
    with pytest.warns(OmlabWarning, match=r"seg\.nii: its names of labels are damaged and left out"):
        found = Nifti().read(tmp_path / "seg.nii", kind="labelmap")
    assert isinstance(found, LabelMap)
    assert found.labels == ()


@pytest.mark.parametrize(("slope", "intercept"), [(1e38, 0), (3e38, 3e38), (-1, 0), (1e-40, 0)])
def test_scales_beyond_float32_are_said_by_us_only(tmp_path: Path, slope: float, intercept: float) -> None:
    path = _save(tmp_path / "v.nii", np.full((3, 3, 3), 30000, np.int16))
    content = bytearray(path.read_bytes())
    content[112:120] = struct.pack("<ff", slope, intercept)
    path.write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", OmlabWarning)
        assert Nifti().read(path, kind="volume").array.shape == (1, 3, 3, 3)
