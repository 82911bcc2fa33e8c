"""The commands: name -> (module, summary). A new command is one file, and one line here.

A command's module has `EXAMPLE`, `add_arguments(parser)`, which imports nothing heavy, and `run(arguments)`.
"""

COMMANDS = {
    "demo": ("patchvlad.commands.demo", "recognise places in sample photos and draw the matches"),
    "extract": (
        "patchvlad.commands.extract",
        "describe photos and keep the features in a store; an interrupted run goes on",
    ),
    "match": ("patchvlad.commands.match", "find every query in the database: retrieve, re-rank, measure"),
    "compare": ("patchvlad.commands.compare", "score two photos and draw their matches"),
    "fit": ("patchvlad.commands.fit", "make your own model from a few hundred photos, without training"),
    "places": ("patchvlad.commands.places", "say what places a dataset holds, before you wait for training"),
    "train": ("patchvlad.commands.train", "train a model on your own places; a killed run goes on with --resume"),
    "add-pca": ("patchvlad.commands.add_pca", "add whitening to a trained model"),
    "ground-truth": (
        "patchvlad.commands.ground_truth",
        "make a ground truth from positions, labels, frame numbers, or other tools' files",
    ),
    "list": ("patchvlad.commands.list_images", "write the image list of a folder"),
    "datasets": ("patchvlad.commands.datasets", "list the published benchmarks and how each is counted"),
    "check-dataset": ("patchvlad.commands.check_dataset", "say what a published benchmark lacks on this disk"),
    "evaluate": (
        "patchvlad.commands.evaluate",
        "measure predictions of any method, side by side, with intervals",
    ),
    "export": ("patchvlad.commands.export", "write predictions or descriptors in another tool's format"),
    "verify": (
        "patchvlad.commands.verify",
        "compare stores, results and models with their checksums, and repair stores",
    ),
    "fetch": ("patchvlad.commands.fetch", "fetch the reference's example images, image lists and ground truths"),
    "models": ("patchvlad.commands.models", "list the known models, or download them"),
}
