"""Recipes of training on images: what is minimised, on which batches, with which rates (`omlab_train.Recipe`).

    recipe = ClassificationRecipe(
        module=network, layers=layers, data=data, classes=names, augment=training(224), prepare=evaluation(224),
        settings=settings, seed=0,
    )
    history = omlab_train.fit(recipe, folder=folder, device="cuda", seed=0, workers=None)

Needs `omlab-image[training]`.
"""

from omlab_image.training.classification import ClassificationRecipe
from omlab_image.training.course import Course
from omlab_image.training.segmentation import SegmentationRecipe
from omlab_image.training.self_supervised import SelfSupervisedRecipe

__all__ = ["ClassificationRecipe", "Course", "SegmentationRecipe", "SelfSupervisedRecipe"]
