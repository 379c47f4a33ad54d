"""InfoBatch inside the Trainer of Hugging Face's transformers.

pip install 'prunebench[loops]'
python examples/hf_trainer_loop.py
"""

import tempfile

import torch
from sklearn.datasets import load_digits
from torch import nn
from transformers import TrainingArguments, default_data_collator
from transformers.modeling_outputs import SequenceClassifierOutput

from datasets import Dataset
from prunebench import Pruning
from prunebench.api.transformers import PruningTrainer

BATCH = 64


class Net(nn.Module):
    """A perceptron that takes and gives what models of transformers do."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))

    def forward(self, pixels, labels=None):
        return SequenceClassifierOutput(logits=self.layers(pixels))


def main(epochs=10, resume=None, **arguments):
    inputs, labels = load_digits(return_X_y=True)
    train, clean, test = (
        Dataset.from_dict({"pixels": inputs[a:b] / 16, "label": labels[a:b]}).with_format("torch")
        for a, b in ((0, 1200), (1200, 1300), (1300, 1797))
    )
    pruning = Pruning(train, "infobatch+align", epochs=epochs, ratio=0.5, reference=clean)
    torch.manual_seed(0)
    model = Net()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    rate = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda _: 1 - pruning.progress)
    with tempfile.TemporaryDirectory() as folder:
        given = TrainingArguments(**{
            "output_dir": folder, "per_device_train_batch_size": BATCH, "max_grad_norm": 0,
            "num_train_epochs": 3 * epochs, "save_strategy": "no", "report_to": "none", **arguments,
        })  # fmt: skip
        trainer = PruningTrainer(model, given, pruning=pruning, optimizers=(optimizer, rate),
                                 data_collator=default_data_collator)  # fmt: skip
        trainer.train(resume)
    model.eval()
    right = (model(test["pixels"][:].cpu()).logits.argmax(1) == test["label"][:]).float().mean()
    print(f"{pruning.trained} samples in {pruning.epoch} epochs, test accuracy {right:.3f}")
    return model, pruning


if __name__ == "__main__":
    main()
