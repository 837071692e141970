"""What `pipelines/planning` goes by: what each part of a group costs, what is usual, and how many bytes it takes.

`python benchmarks/speed/group_plan/run.py` measures these anew, on virtual patients, and says how far off they are.
"""

from __future__ import annotations

# ---------------------------------------------------------------------------------------------------------------------
# Yardsticks, measured by benchmarks/speed/group_plan/run.py on an AMD EPYC; its ours.toml has them beside these

# Of a voxel of an image: read from .nii.gz, written to it, and made smooth for coarser voxels than its own.
READ, WRITE, SMOOTH = 3e-8, 2e-7, 2.2e-8
# Of a voxel that a detector looks at, and of a keypoint that it describes.
LOOK = {"surf3d": 5.2e-8, "sift3d": 9e-7, "sp3d": 3.9e-6}
DESCRIBE = {"surf3d": 6e-5, "sift3d": 5e-4, "sp3d": 3.9e-4}
# Of a keypoint that a network describes.
LEARNED = 5e-4
# Of a pair of keypoints and a number of their descriptors, where all pairs are compared.
COMPARE = 9e-11
# Of a file of keypoints, or of matches.
OPEN = 0.005
# Of a pair of images whose agreement is looked at; of a step, for each keypoint that is matched and for each match.
AGREE, STEP_OF_POINT, STEP_OF_MATCH = 0.08, 2e-7, 5e-8
# Of a node of a way back, for each layer of splines; and of a node at which folds are looked for.
BACK, FOLD = 1.2e-7, 4e-7
# Of a voxel: of the mean, for each image; of labels that are handed on, for each image that they come from.
MEAN, VOTE = 1.7e-7, 6.5e-7

# ---------------------------------------------------------------------------------------------------------------------
# What is usual

# Keypoints of a voxel that is looked at, where no number is asked for.
FOUND = {"surf3d": 3.5e-4, "sift3d": 1e-3, "sp3d": 1.4e-3}
NUMBERS = {"surf3d": 48, "sift3d": 768, "sp3d": 128}
# Detectors that look at voxels of a size that can be said.
RESAMPLED = ("surf3d", "sp3d")
# A share of the pairs of keypoints whose scales are alike, at the usual ratio; and of keypoints that are matched.
USUAL_RATIO, ALIKE, MATCHED = 1.3, 0.62, 0.35
# Partners looked at for each image at the start, and steps of the linear stage that converges.
LOOKED_AT, LINEAR_STEPS = 9, 10
# Layers of splines of a level, and the common box beside an image's own, along each axis.
LAYERS, LARGER = 3, 1.4
# mm: nodes of ways back, and of where folds are looked for. Ways back fill more than the image's box: by how much, and
# how much larger the common box is, depends on how patients lie, and is a guess.
LATTICE_MM, FOLDS_MM, WIDER = 5.0, 4.0, 1.15
# How many more pairs there are where some of the partners are the most alike, which do not choose each other.
ONE_SIDED = 1.1
# The share of a task that a process's threads divide among them: a guess.
SHARED = 0.8

# ---------------------------------------------------------------------------------------------------------------------
# Bytes

# Of a process that has done nothing yet; of a voxel of an image, and of one that is looked at, at the peak.
PROCESS, IMAGE_VOXEL = 220e6, 8
LOOKED_VOXEL = {"surf3d": 6.5, "sift3d": 37, "sp3d": 45}
# More of a voxel of an image that is made smooth first.
SMOOTHED_VOXEL = 4
# Beside its descriptor, of a keypoint in its file; of a match in its file.
KEYPOINT, MATCH = {"surf3d": 41, "sift3d": 113, "sp3d": 41}, 24
# While maps are drawn, of a keypoint and of a match; of a control of one image in one layer, there and in its file.
DRAWN_POINT, DRAWN_MATCH, CONTROL = 700, 48, 24
# Of a node of a way back, while it is solved and in its file; of a voxel of the mean, likewise.
SOLVED_NODE, BACK_NODE, MEAN_VOXEL, MEAN_WRITTEN = 55, 5, 32, 7
# In the files of labels that are handed on and how sure they are, of a voxel.
VOTED_VOXEL, VOTED_WRITTEN = 40, 1
