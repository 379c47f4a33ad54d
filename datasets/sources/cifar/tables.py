"""What is published of CIFAR-10 and CIFAR-100: files, checksums, classes, super-classes."""

from __future__ import annotations

from dataclasses import dataclass

from prunebench.datasets.locate import DataFile

LAYOUTS = ("python", "binary", "packed")
PACKED = ("train.npz", "test.npz")


@dataclass(frozen=True)
class Family:
    """What is published of one of the two sets.

    Attributes:
        name: ``cifar10`` or ``cifar100``.
        class_names: C names.
        python: Files of the python layout with their checksums, training files first.
        binary: (file, images) of the binary layout, in the same order.
        folders: Folder name of each layout.
        label_key: Key of the labels in the python files.
        train_labels: SHA-256 of the training labels as little-endian int64 bytes.
        coarse: Super-class of each class, which the files repeat; empty where they do not.
    """

    name: str
    class_names: tuple[str, ...]
    python: tuple[DataFile, ...]
    binary: tuple[tuple[str, int], ...]
    folders: dict[str, str]
    label_key: str
    train_labels: str
    coarse: tuple[int, ...] = ()

    def files(self, layout: str) -> tuple[str, ...]:
        """File names of a layout, training files first; the last one holds the test split."""
        if layout == "packed":
            return PACKED
        if layout == "binary":
            return tuple(name for name, _ in self.binary)
        return tuple(file.path for file in self.python)


CIFAR10 = Family(
    name="cifar10",
    class_names=("airplane", "automobile", "bird", "cat", "deer",
                 "dog", "frog", "horse", "ship", "truck"),
    python=(
        DataFile("data_batch_1", "md5:c99cafc152244af753f735de768cd75f"),
        DataFile("data_batch_2", "md5:d4bba439e000b95fd0a9bffe97cbabec"),
        DataFile("data_batch_3", "md5:54ebc095f3ab1f0389bbae665268c751"),
        DataFile("data_batch_4", "md5:634d18415352ddfa80567beed471001a"),
        DataFile("data_batch_5", "md5:482c414d41f54cd18b22e5b47cb7c3cb"),
        DataFile("test_batch", "md5:40351d587109b95175f43aff81a1287e"),
    ),
    binary=(
        *((f"data_batch_{number}.bin", 10_000) for number in range(1, 6)),
        ("test_batch.bin", 10_000),
    ),
    folders={
        "python": "cifar-10-batches-py",
        "binary": "cifar-10-batches-bin",
        "packed": "cifar10-jpeg",
    },
    label_key="labels",
    train_labels="f5cfe00b0f00968c0cc5ff3b1d2de51b10e33efa277c2986f4e0fa63e58c9f4f",
)  # fmt: skip

CIFAR100 = Family(
    name="cifar100",
    class_names=(
        "apple", "aquarium_fish", "baby", "bear", "beaver", "bed", "bee", "beetle", "bicycle",
        "bottle", "bowl", "boy", "bridge", "bus", "butterfly", "camel", "can", "castle",
        "caterpillar", "cattle", "chair", "chimpanzee", "clock", "cloud", "cockroach", "couch",
        "crab", "crocodile", "cup", "dinosaur", "dolphin", "elephant", "flatfish", "forest",
        "fox", "girl", "hamster", "house", "kangaroo", "keyboard", "lamp", "lawn_mower",
        "leopard", "lion", "lizard", "lobster", "man", "maple_tree", "motorcycle", "mountain",
        "mouse", "mushroom", "oak_tree", "orange", "orchid", "otter", "palm_tree", "pear",
        "pickup_truck", "pine_tree", "plain", "plate", "poppy", "porcupine", "possum", "rabbit",
        "raccoon", "ray", "road", "rocket", "rose", "sea", "seal", "shark", "shrew", "skunk",
        "skyscraper", "snail", "snake", "spider", "squirrel", "streetcar", "sunflower",
        "sweet_pepper", "table", "tank", "telephone", "television", "tiger", "tractor", "train",
        "trout", "tulip", "turtle", "wardrobe", "whale", "willow_tree", "wolf", "woman", "worm",
    ),
    python=(
        DataFile("train", "md5:16019d7e3df5f24257cddd939b257f8d"),
        DataFile("test", "md5:f0ef6b0ae62326f3e7ffdfab6717acfc"),
    ),
    binary=(("train.bin", 50_000), ("test.bin", 10_000)),
    folders={
        "python": "cifar-100-python",
        "binary": "cifar-100-binary",
        "packed": "cifar100-jpeg",
    },
    label_key="fine_labels",
    train_labels="8bf4935e7c77a3096270043c6f3b221b6ecb9c63d1a08608e9af66cff17e977a",
    coarse=(
        4, 1, 14, 8, 0, 6, 7, 7, 18, 3, 3, 14, 9, 18, 7, 11, 3, 9, 7, 11, 6, 11, 5, 10, 7, 6, 13,
        15, 3, 15, 0, 11, 1, 10, 12, 14, 16, 9, 11, 5, 5, 19, 8, 8, 15, 13, 14, 17, 18, 10, 16, 4,
        17, 4, 2, 0, 17, 4, 18, 17, 10, 3, 2, 12, 12, 16, 12, 1, 9, 19, 2, 10, 0, 1, 16, 12, 9, 13,
        15, 13, 16, 19, 2, 4, 6, 19, 5, 5, 8, 19, 18, 1, 2, 15, 6, 0, 17, 8, 14, 13,
    ),
)  # fmt: skip
