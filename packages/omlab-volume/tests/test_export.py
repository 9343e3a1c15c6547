import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from torch import nn

from omlab.errors import OmlabError
from omlab_volume.inference.export import LabelExport, MemoryWarning, label_type, labels_from_scores, predict_labels
from omlab_volume.inference.resample import nearest_indices
from omlab_volume.inference.sliding_window import predict_scores

shapes = st.tuples(*[st.integers(1, 17)] * 3)
separates = st.sampled_from([None, 0, 1, 2])


def class_volumes(scores, shape, *, separate):
    """The usual way: every class resampled in float64."""
    factors = [want / have for want, have in zip(shape, scores.shape[1:], strict=True)]
    if separate is not None:
        factors[separate] = 1.0
    volumes = np.stack(
        [ndimage.zoom(one, factors, order=1, mode="nearest", grid_mode=True) for one in scores.double().numpy()]
    )
    if separate is not None:
        volumes = volumes.take(nearest_indices(volumes.shape[separate + 1], shape[separate]), axis=separate + 1)
    return volumes


def assert_equal_but_for_ties(labels, volumes):
    best = volumes.argmax(axis=0)
    chosen = np.take_along_axis(volumes, labels[None].astype(np.intp), axis=0)[0]
    differing = labels != best
    assert labels.shape == best.shape
    assert (volumes.max(axis=0) - chosen)[differing].max(initial=0) < 1e-5


def network(classes, scale=3.0):
    torch.manual_seed(classes)
    model = nn.Conv3d(1, classes, 3, padding=1).eval()
    with torch.no_grad():
        model.weight *= scale
    return model


@given(size=shapes, shape=shapes, classes=st.integers(1, 5), separate=separates, seed=st.integers(0, 99))
@settings(max_examples=40, deadline=None)
def test_labels_of_scores_equal_the_argmax_of_class_volumes(size, shape, classes, separate, seed):
    scores = torch.randn(classes, *size, generator=torch.Generator().manual_seed(seed))
    labels = labels_from_scores(scores, shape, separate=separate)
    assert_equal_but_for_ties(labels, class_volumes(scores, shape, separate=separate))


@given(
    size=st.tuples(*[st.integers(1, 12)] * 3),
    shape=st.one_of(st.none(), shapes),
    patch=st.tuples(*[st.integers(4, 8)] * 3),
    separate=separates,
    combine=st.sampled_from(["probabilities", "logits"]),
    batch=st.integers(1, 4),
)
@settings(max_examples=20, deadline=None)
def test_predicted_labels_equal_the_argmax_of_class_volumes(size, shape, patch, separate, combine, batch):
    image = torch.randn(1, *size, generator=torch.Generator().manual_seed(sum(size)))
    how = {"patch_size": patch, "classes": 4, "mirror": (2,), "combine": combine}
    labels = predict_labels(network(4), image, shape=shape, separate=separate, batch_size=batch, **how)
    scores = predict_scores(network(4), image, **how)
    if shape is None:
        assert_equal_but_for_ties(labels, scores.double().numpy())
    else:
        assert_equal_but_for_ties(labels, class_volumes(scores, shape, separate=separate))


def test_the_lowest_class_wins_a_tie():
    scores = torch.zeros(4, 3, 3, 3)
    scores[1:3] = 1
    assert (labels_from_scores(scores, (5, 3, 7)) == 1).all()


def test_many_classes_take_sixteen_bits():
    scores = torch.zeros(301, 2, 2, 2)
    scores[300, 0, 0, 0] = scores[5, 1, 1, 1] = 1
    labels = labels_from_scores(scores, (2, 2, 2))
    assert labels.dtype == np.uint16
    assert (labels[0, 0, 0], labels[1, 1, 1]) == (300, 5)
    assert (label_type(256), label_type(257)) == (np.uint8, np.uint16)
    with pytest.raises(ValueError, match="70000"):
        label_type(70000)


def test_scores_that_are_not_finite_are_an_error():
    for wrong in (torch.nan, torch.inf):
        scores = torch.zeros(2, 3, 3, 3)
        scores[1, 1, 1, 1] = wrong
        with pytest.raises(OmlabError, match="not finite"):
            labels_from_scores(scores, (3, 3, 3))
        with pytest.raises(OmlabError, match="not finite"):
            predict_labels(
                lambda x, wrong=wrong: x.repeat(1, 2, 1, 1, 1) + wrong, scores[:1], patch_size=(2, 2, 2), classes=2
            )


def test_impossible_grids_are_refused():
    with pytest.raises(ValueError, match=r"\(0, 1, 1\)"):
        LabelExport((1, 1, 1), (0, 1, 1), classes=2)


class Hungry:
    """A network that runs out of memory where more than `most` windows come, or for the first `times` calls."""

    def __init__(self, *, most=99, times=0):
        self.most = most
        self.times = times
        self.batches = []

    def __call__(self, windows):
        self.batches.append(len(windows))
        if len(windows) > self.most or len(self.batches) <= self.times:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return network(2)(windows)


def test_out_of_memory_is_met_with_smaller_batches_then_the_cpu_then_a_sentence():
    image = torch.randn(1, 4, 4, 12)
    how = {"patch_size": (4, 4, 4), "classes": 2, "mirror": False}
    expected = predict_labels(network(2), image, **how)
    halved = Hungry(most=2)
    assert (predict_labels(halved, image, batch_size=4, **how) == expected).all()
    assert max(halved.batches[1:]) == 2
    with pytest.warns(MemoryWarning, match="summed on the CPU"):
        assert (predict_labels(Hungry(times=1), image, **how) == expected).all()
    with pytest.warns(MemoryWarning), pytest.raises(OmlabError, match="does not suffice for one window"):
        predict_labels(Hungry(most=0), image, **how)
