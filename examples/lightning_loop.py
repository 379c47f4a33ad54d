"""InfoBatch with alignment inside Lightning's Trainer; needs ``prunebench[loops]``."""

import lightning as L
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from prunebench import Pruning
from prunebench.api.lightning import PruningCallback

BATCH = 64


class Net(L.LightningModule):
    """A perceptron whose learning rate falls as the training goes on."""

    def __init__(self, pruning):
        super().__init__()
        self.pruning = pruning
        self.layers = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))

    def forward(self, inputs):
        return self.layers(inputs)

    def training_step(self, batch, _):
        inputs, labels, sample = batch
        losses = F.cross_entropy(self(inputs), labels, reduction="none")
        return self.pruning.loss(losses, sample)

    def configure_optimizers(self):
        optimizer = torch.optim.SGD(self.parameters(), lr=0.1, momentum=0.9)
        rate = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda _: 1 - self.pruning.progress)
        return [optimizer], [{"scheduler": rate, "interval": "step"}]


def main(epochs=10, callbacks=(), ckpt_path=None, **trainer):
    inputs, labels = (torch.tensor(array) for array in load_digits(return_X_y=True))
    inputs = (inputs / 16).float()
    train, clean = (TensorDataset(inputs[part], labels[part])
                    for part in (slice(0, 1200), slice(1200, 1300)))  # fmt: skip
    pruning = Pruning(train, "infobatch+align", epochs=epochs, ratio=0.5, reference=clean)
    torch.manual_seed(0)
    net = Net(pruning)
    loop = L.Trainer(max_epochs=-1, callbacks=[PruningCallback(pruning), *callbacks],
                     use_distributed_sampler=False, accelerator="cpu", logger=False,
                     enable_checkpointing=bool(callbacks), **trainer)  # fmt: skip
    loader = DataLoader(pruning.dataset, batch_size=BATCH, sampler=pruning.sampler)
    loop.fit(net, loader, ckpt_path=ckpt_path)
    net.eval()
    right = (net(inputs[1300:]).argmax(1) == labels[1300:]).float().mean()
    print(f"{pruning.trained} samples in {pruning.epoch} epochs, accuracy {right:.3f}")
    return net, pruning


if __name__ == "__main__":
    main()
