"""Res2Net in plain PyTorch, after Gao et al. 2021, section 3: what cupola's is compared with.

torchvision has no Res2Net. The network is torchvision's ResNet with other blocks, so that all that
is not the block (stem, stages, pooling) is torchvision's own.
"""

from __future__ import annotations

import torch
from torch import nn

import harness


def block_class():
    """Returns the block; its base, torchvision's Bottleneck, has its `expansion`."""

    class Block(harness.import_torchvision().models.resnet.Bottleneck):
        def __init__(self, inplanes, planes, stride=1, downsample=None, *_, **__):
            nn.Module.__init__(self)
            self.width = width = planes * 26 // 64
            self.first_of_stage = downsample is not None
            self.conv1 = nn.Conv2d(inplanes, width * 4, 1, bias=False)
            self.bn1 = nn.BatchNorm2d(width * 4)
            convs, norms = [], []
            for _ in range(3):
                convs.append(nn.Conv2d(width, width, 3, stride, 1, bias=False))
                norms.append(nn.BatchNorm2d(width))
            if self.first_of_stage:
                self.pool = nn.AvgPool2d(3, stride, 1)
            self.convs, self.bns = nn.ModuleList(convs), nn.ModuleList(norms)
            self.conv3 = nn.Conv2d(width * 4, planes * 4, 1, bias=False)
            self.bn3 = nn.BatchNorm2d(planes * 4)
            self.downsample = downsample

        def forward(self, x):
            x1, x2, x3, x4 = torch.chunk(torch.relu(self.bn1(self.conv1(x))), 4, dim=1)
            y1 = torch.relu(self.bns[0](self.convs[0](x1)))
            y2 = torch.relu(self.bns[1](self.convs[1](x2 if self.first_of_stage else x2 + y1)))
            y3 = torch.relu(self.bns[2](self.convs[2](x3 if self.first_of_stage else x3 + y2)))
            y4 = self.pool(x4) if self.first_of_stage else x4
            out = self.bn3(self.conv3(torch.cat([y1, y2, y3, y4], dim=1)))
            return torch.relu(out + (x if self.downsample is None else self.downsample(x)))

    return Block


def make(layers: list[int], **kwargs):
    """Returns torchvision's ResNet of these blocks."""
    return harness.import_torchvision().models.ResNet(block_class(), layers, **kwargs)
