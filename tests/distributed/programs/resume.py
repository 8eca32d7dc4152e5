"""Training that can be taken up again. usage: resume.py FOLDER EPOCHS [die]

Prints each epoch's loss over all ranks; with ``die``, rank 1 is killed within the third epoch.
"""

import os
import pathlib
import signal
import sys

import cupola as torch
from cupola import mpi, nn

path, epochs = pathlib.Path(sys.argv[1]) / "checkpoint.pt", int(sys.argv[2])
torch.manual_seed(3)
x, y = torch.randn(26, 5).double(), torch.randn(26, 1).double()
loader = torch.utils.data.DataLoader(
    torch.utils.data.TensorDataset(x, y), batch_size=6, shuffle=True
)
net = nn.Sequential(nn.Linear(5, 16), nn.SyncBatchNorm(16), nn.Tanh(), nn.Linear(16, 1)).double()
optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
start = 0
if path.exists():
    saved = torch.load(path)
    net.load_state_dict(saved["net"])
    optimizer.load_state_dict(saved["optimizer"])
    start = saved["epoch"] + 1
for epoch in range(start, epochs):
    torch.manual_seed(epoch)
    total = 0.0
    for step, (a, b) in enumerate(loader):
        loss = nn.functional.mse_loss(net(a), b)
        optimizer.zero_grad()
        loss.backward()
        if sys.argv[3:] == ["die"] and epoch == 2 and step == 2 and os.environ["RANK"] == "1":
            os.kill(os.getpid(), signal.SIGKILL)
        optimizer.step()
        total += mpi.mean(loss.item() * mpi.batch_weight())
    torch.save({"net": net.state_dict(), "optimizer": optimizer.state_dict(), "epoch": epoch}, path)
    print(f"epoch {epoch} {total:.12f}", flush=True)
# What rank 0 has just written is there for the others, too (rank 0 may be further on already).
for number in range(5):
    torch.save({"number": torch.tensor(number)}, path)
    assert torch.load(path)["number"].item() >= number
