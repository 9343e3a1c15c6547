"""How sure a segmentation is of each structure: what windows tell, and what a label map does."""

import numpy as np
import pytest
import torch

from omlab_payloads.sureness import Sureness
from omlab_volume.inference.export import predict_labels
from omlab_volume.inference.preprocess import Plan
from omlab_volume.inference.segment import segment
from omlab_volume.inference.sliding_window import predict_scores
from omlab_volume.volume import Label, Volume


class Blob(torch.nn.Module):
    """Scores that follow the image: class 1 where it is bright."""

    def forward(self, windows):
        return torch.cat([-windows, windows], dim=1)


@pytest.mark.parametrize("combine", ["probabilities", "logits"])
def test_windows_tell_what_the_whole_volume_would(combine):
    image = 2 * torch.randn(1, 11, 12, 13, generator=torch.Generator().manual_seed(0))
    how = {"patch_size": (8, 8, 8), "classes": 2, "mirror": False, "combine": combine}
    sureness = Sureness(2, softmax=combine == "logits")
    labels = predict_labels(Blob(), image, sureness=sureness, **how)
    scores = predict_scores(Blob(), image, **how)
    assert (labels == scores.argmax(0).numpy()).all()
    ranked = np.sort((scores.softmax(0) if combine == "logits" else scores).numpy(), axis=0)
    assert sureness.of(1)["margin"] == pytest.approx((ranked[1] - ranked[0])[labels == 1].mean(), abs=1e-3)


def test_a_label_map_tells_volume_and_sureness_of_what_is_there():
    array = np.full((1, 10, 10, 10), -1.0, np.float32)
    array[0, 3:7, 3:7, 3:7] = 2.0
    volume = Volume(array=array, affine=np.diag([2.0, 2.0, 2.0, 1.0]))
    labels = [Label(value=1, name="blob"), Label(value=2, name="never")]
    plan = Plan(spacing=None, patch_size=(10, 10, 10), normalisation="none")

    class Three(torch.nn.Module):
        def forward(self, windows):
            return torch.cat([-windows, windows, torch.full_like(windows, -9)], dim=1)

    found = segment(Three(), volume, plan=plan, labels=labels, mirror=False)
    assert set(found.facts["structures"]) == {"blob"}
    assert found.facts["structures"]["blob"]["ml"] == pytest.approx(64 * 8 / 1000)
    assert found.facts["structures"]["blob"]["margin"] > 0.9
    assert found.telling({"more": 1}).tells() == {"more": 1}
