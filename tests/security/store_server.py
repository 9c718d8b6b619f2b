"""Two processes that meet as an engine's ranks do; rank 0 says where it listens then."""

import json
import os
import sys

import psutil
import torch.distributed as dist

from vllm_hetero.patches import store_on_loopback

rank, address, patched = int(sys.argv[1]), sys.argv[2], sys.argv[3] == "patched"
if patched:
    store_on_loopback.apply()
    store_on_loopback.apply()
dist.init_process_group("gloo", init_method=address, rank=rank, world_size=2)
port = int(address.rpartition(":")[2])
found = [
    connection.laddr.ip
    for connection in psutil.Process(os.getpid()).net_connections()
    if connection.status == psutil.CONN_LISTEN and connection.laddr.port == port
]
dist.barrier()
print(json.dumps(found))
