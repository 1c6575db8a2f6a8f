"""A Slurm cluster on the loopback of this machine, for the tests: real daemons, pretended nodes.

A controller and four nodes, each a `slurmd` of its own with CPUs and memory that are only declared, and on
the last two GPUs, which are other device files. No systemd, no database of jobs, no root needed except to
hide a folder from a node.

    python tests/support/slurm_cluster.py FOLDER    starts one, prints how to use it, and stops it at Ctrl-C
"""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

# Debian's packages of the programs; `make test-slurm` installs them where it may (envs/slurm.sh).
PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scancel", "scontrol", "sinfo")
# Debian keeps the daemons out of the path of an ordinary user.
SEARCH = os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin"))
CPU_NODES, GPU_NODES = ("cpu1", "cpu2"), ("gpu1", "gpu2")
NODES = CPU_NODES + GPU_NODES

CONFIG = """\
ClusterName=loopback
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CryptoType=crypto/munge
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.%n.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.%n.log
# Nothing of the machine is touched: no cgroups, no binding to processors, no database of jobs.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
SwitchType=switch/none
# What a node has is what stands here, whatever the machine has.
SlurmdParameters=config_overrides
ReturnToService=2
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU_Memory
SchedulerParameters=batch_sched_delay=0,sched_min_interval=0,sched_interval=1,bf_interval=1
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
JobRequeue=1
KillWait=2
# How long a finished job is listed; the executor plugin asks squeue for it.
MinJobAge=300
GresTypes=gpu
{nodes}
PartitionName=cpu Nodes=cpu[1-2] Default=YES MaxTime=UNLIMITED PriorityTier=2 PreemptMode=OFF
PartitionName=gpu Nodes=gpu[1-2] MaxTime=UNLIMITED PriorityTier=2 PreemptMode=OFF
PartitionName=low Nodes=cpu[1-2],gpu[1-2] MaxTime=UNLIMITED PriorityTier=1 PreemptMode=REQUEUE
"""


def missing():
    """Programs of Slurm and munge that this machine lacks."""
    return [name for name in PROGRAMS if shutil.which(name, path=SEARCH) is None]


def _free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    try:
        for one in sockets:
            one.bind(("127.0.0.1", 0))
        return [one.getsockname()[1] for one in sockets]
    finally:
        for one in sockets:
            one.close()


class Cluster:
    """The cluster; a context manager that starts and stops it.

    Args:
        folder: for its state and logs. Its path must be short: a socket lies there.
        hidden: {node: folder that it sees empty}, as a node does that shares no home folder (needs root).
    """

    def __init__(self, folder, hidden=None):
        self.folder, self.hidden = Path(folder).resolve(), hidden or {}
        self.processes = {}

    def __enter__(self):
        try:
            self.start()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *_):
        self.stop()

    def environment(self):
        """Variables with which the programs of Slurm find this cluster.

        The plugin's job step drops SLURM_CONF before it calls srun: one that sets it stands first in PATH.
        """
        path = os.pathsep.join((str(self.folder / "bin"), SEARCH))
        return {"SLURM_CONF": str(self.folder / "slurm.conf"), "PATH": path}

    def start(self):
        """Start all daemons and wait until every node can take jobs."""
        for name in ("state", "bin", *(f"spool/{node}" for node in NODES)):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        self.folder.chmod(0o755)
        ports = _free_ports(1 + len(NODES))
        host = socket.gethostname().partition(".")[0]
        nodes = "\n".join(
            f"NodeName={node} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs=8 RealMemory=64000"
            + (" Gres=gpu:pretended:2" if node in GPU_NODES else "")
            for node, port in zip(NODES, ports[1:], strict=True)
        )
        user = pwd.getpwuid(os.getuid()).pw_name
        text = CONFIG.format(folder=self.folder, host=host, user=user, ports=ports, nodes=nodes)
        (self.folder / "slurm.conf").write_text(text)
        devices = "\n".join(
            f"NodeName={node} Name=gpu Type=pretended File={device}"
            for node, pair in zip(GPU_NODES, (("null", "zero"), ("full", "random")), strict=True)
            for device in (f"/dev/{name}" for name in pair)
        )
        (self.folder / "gres.conf").write_text(devices + "\n")
        srun = self.folder / "bin" / "srun"
        srun.write_text(
            f'#!/bin/sh\nSLURM_CONF={self.folder}/slurm.conf exec {shutil.which("srun", path=SEARCH)} "$@"\n'
        )
        srun.chmod(0o755)
        key = self.folder / "munge.key"
        key.touch(mode=0o600)
        key.write_bytes(os.urandom(1024))
        self._start(
            "munged",
            *("--foreground", "--force", f"--socket={self.folder}/munge.socket", f"--key-file={key}"),
            *(f"--pid-file={self.folder}/munged.pid", f"--seed-file={self.folder}/munge.seed"),
            *(f"--log-file={self.folder}/munged.log", "--num-threads=2"),
        )
        self._wait(lambda: (self.folder / "munge.socket").exists(), "munged")
        self.start_controller()
        for node in NODES:
            # A mount that this node alone sees hides the folder from its jobs.
            hide = self.hidden.get(node)
            words = ("slurmd", "-D", "-N", node)
            if hide:
                words = (
                    "unshare",
                    "--mount",
                    "sh",
                    "-c",
                    'mount -t tmpfs none "$0" && exec "$@"',
                    str(hide),
                    *words,
                )
            self._start(*words, name=f"slurmd.{node}")
        self._wait(lambda: self.states() == dict.fromkeys(NODES, "idle"), "the nodes", 60)

    def start_controller(self):
        """Start slurmctld, with the state of the one before if there was one."""
        self._start("slurmctld", "-D")

    def kill_controller(self):
        """End slurmctld at once, as a crash does."""
        process = self.processes.pop("slurmctld")
        process.send_signal(signal.SIGKILL)
        process.wait()

    def stop(self):
        """End the jobs and all daemons that were started here."""
        if "slurmctld" in self.processes and self.processes["slurmctld"].poll() is None:
            self.ask("scancel", "--user", pwd.getpwuid(os.getuid()).pw_name, check=False)
            end = time.monotonic() + 10
            while self.ask("squeue", "--noheader", check=False).strip() and time.monotonic() < end:
                time.sleep(0.2)
        for process in reversed(self.processes.values()):
            process.terminate()
        for process in self.processes.values():
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        self.processes.clear()

    def ask(self, *words, check=True):
        """What a program of Slurm prints."""
        done = subprocess.run(
            words, env=os.environ | self.environment(), capture_output=True, text=True, timeout=60
        )
        if check and done.returncode:
            raise RuntimeError(f"{' '.join(words)}: {done.stderr.strip()}")
        return done.stdout

    def states(self):
        """{node: its state}, empty where the controller does not answer."""
        lines = self.ask("sinfo", "--noheader", "--Node", "--format=%N %T", check=False).splitlines()
        return dict(line.split()[:2] for line in lines)

    def jobs(self):
        """{id: (state, name, rule and wildcards)} of all jobs, finished ones included."""
        lines = self.ask("squeue", "--noheader", "--states=all", "--format=%i|%T|%j|%k").splitlines()
        return {number: tuple(rest) for number, *rest in (line.split("|", 3) for line in lines)}

    def _start(self, *words, name=None):
        name = name or words[0]
        with (self.folder / f"{name}.out").open("ab") as output:
            self.processes[name] = subprocess.Popen(
                words,
                env=os.environ | self.environment(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def _wait(self, condition, what, seconds=30):
        end = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > end:
                logs = [
                    f"{path.name}:\n{path.read_text(errors='replace')[-1500:]}"
                    for path in sorted(self.folder.glob("*.out"))
                ]
                raise RuntimeError("\n".join((f"{what} did not come up in {seconds} s", *logs)))
            time.sleep(0.1)


if __name__ == "__main__":
    with Cluster(sys.argv[1]) as cluster:
        print(
            "\n".join(f"export {name}={value}" for name, value in cluster.environment().items()), flush=True
        )
        signal.pause()
