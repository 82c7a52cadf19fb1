"""A real Slurm of one node on this machine: Debian's packages, loopback, and GPUs that are only pretended.

As root, without systemd and cgroups. `sacct` works, so that the profile is the one of a real cluster. Slurm's commands
are told where it is by /etc/slurm/slurm.conf (inside a job the executor plugin takes SLURM_CONF away), so there is one
such cluster on a machine at a time.
"""

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

PROGRAMS = {
    "munged": "munge",
    "slurmctld": "slurmctld",
    "slurmd": "slurmd",
    "sbatch": "slurm-client",
    "slurmdbd": "slurmdbd",
    "mariadbd": "mariadb-server",
}
ETC = Path("/etc/slurm")
LINKS = [ETC / "slurm.conf", ETC / "gres.conf"]
# Where such clusters are: sockets have short paths, and Slurm looks at who may enter the folders above.
PLACE, PREFIX = Path("/tmp"), "slurm-"
# The commands of a job's user, and the daemons'.
PATH = f"{os.environ['PATH']}:/usr/sbin:/usr/bin"
CPUS, GPUS = 16, 4


def missing_packages() -> list[str]:
    return [package for program, package in PROGRAMS.items() if not shutil.which(program, path=PATH)]


def why_not() -> str | None:
    """Why this machine cannot have the cluster, as a reason to skip; installs what can be installed."""
    if os.geteuid() != 0:
        return "starting Slurm's daemons takes root"
    for link in LINKS:
        if link.exists() and not earlier(link):
            return f"{link} is there: this machine belongs to a cluster"
        if link.exists() and (alive := daemons(earlier(link))):
            named = ", ".join(f"{name} {pid}" for name, pid in alive.items())
            return f"one of an earlier run is at work ({named}); end it with: kill {' '.join(map(str, alive.values()))}"
    if missing := missing_packages():
        if not shutil.which("apt-get"):
            return f"{', '.join(missing)} cannot be installed: there is no apt-get"
        # Run level 1: the packages must not start daemons of their own.
        environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive", "RUNLEVEL": "1"}
        for words in (["update"], ["install", "--yes", "--no-install-recommends", *missing]):
            done = subprocess.run(["apt-get", "-qq", *words], env=environment, capture_output=True, text=True)
            if done.returncode:
                last = (done.stderr.strip().splitlines() or ["no message"])[-1]
                return f"apt-get {' '.join(words)} failed: {last}"
    return None


def earlier(link: Path) -> Path | None:
    """The folder of the cluster of these tests that a link of a run points into, which may be over."""
    folder = link.readlink().parents[1] if link.is_symlink() else Path()
    return folder if folder.match(f"{PLACE}/{PREFIX}*") else None


def daemons(folder: Path) -> dict[str, int]:
    """Process ids of a cluster's daemons that are alive, by name."""
    known = {file.stem: file.read_text().strip() for file in sorted((folder / "run").glob("*.pid"))}
    return {name: int(pid) for name, pid in known.items() if pid and program(int(pid)) == name}


def program(pid: int) -> str | None:
    """The name of a process that is at work."""
    stat = Path(f"/proc/{pid}/stat")
    # A process that has ended and was not waited for is Z.
    if not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z":
        return None
    return Path(f"/proc/{pid}/comm").read_text().strip()


def wait_until(true: Callable[[], bool], seconds: float, what: str) -> None:
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(0.1)


def run(*words: str, check: bool = True, **more) -> str:
    done = subprocess.run(words, capture_output=True, text=True, env=os.environ | {"PATH": PATH}, **more)
    assert not check or done.returncode == 0, f"{' '.join(words)}: {done.stdout}{done.stderr}"
    return done.stdout


class Cluster:
    """`start`, `stop`, and the controller alone (`stop_controller`, `start_controller`).

    folder: everything of it, on a short path (sockets); every user must be able to enter it.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self.node = socket.gethostname().partition(".")[0]
        self.pids: dict[str, int] = {}

    def start(self) -> None:
        for name in ("etc", "run", "log", "state", "spool", "munge", "devices"):
            (self.folder / name).mkdir(parents=True)
        (self.folder / "munge").chmod(0o700)
        self._write_settings()
        self._start_munge()
        self._start_accounting()
        self.start_controller()
        self._daemon("slurmd", "-f", self.conf)
        wait_until(lambda: run("sinfo", "-h", "-o", "%T").strip() == "idle", 30, f"the node; see {self.folder}/log")

    def stop(self) -> None:
        """End the cluster's jobs and then exactly the daemons that `start` started."""
        if "slurmctld" in self.pids:
            run("scancel", f"--user={os.environ.get('USER', 'root')}", check=False)
            wait_until(lambda: not run("squeue", "-h", check=False).strip(), 60, "the jobs to end")
        for name in reversed(list(self.pids)):
            self._end(name)
        for link in LINKS:
            if link.is_symlink() and link.readlink().is_relative_to(self.folder):
                link.unlink()

    def start_controller(self) -> None:
        self._daemon("slurmctld", "-f", self.conf)
        wait_until(lambda: "UP" in run("scontrol", "ping", check=False), 30, "the controller")

    def stop_controller(self) -> None:
        self._end("slurmctld")

    @property
    def conf(self) -> Path:
        return self.folder / "etc" / "slurm.conf"

    def _daemon(self, name: str, *words, **more) -> None:
        """Start a daemon that goes to the background by itself and writes the file of its process id."""
        file = self.folder / "run" / f"{name}.pid"
        file.unlink(missing_ok=True)
        done = subprocess.run([name, *map(str, words)], env=os.environ | {"PATH": PATH} | more, capture_output=True)
        assert done.returncode == 0, f"{name}: {done.stderr.decode()}"
        wait_until(lambda: file.exists() and bool(file.read_text().strip()), 30, name)
        self.pids[name] = int(file.read_text())

    def _end(self, name: str) -> None:
        pid = self.pids.pop(name)
        os.kill(pid, 15)
        wait_until(lambda: program(pid) is None, 30, f"{name} to end")

    def _start_munge(self) -> None:
        key = self.folder / "munge" / "key"
        key.write_bytes(os.urandom(128))
        key.chmod(0o400)
        words = [f"--key-file={key}", f"--socket={self.socket}", f"--pid-file={self.folder}/run/munged.pid"]
        words += [f"--log-file={self.folder}/munge/log", f"--seed-file={self.folder}/munge/seed", "--num-threads=2"]
        self._daemon("munged", *words)

    @property
    def socket(self) -> Path:
        return self.folder / "run" / "munge.socket"

    def _start_accounting(self) -> None:
        data, database = self.folder / "database", self.folder / "run" / "mysql.socket"
        words = ["--no-defaults", f"--datadir={data}", "--user=root"]
        run("mariadb-install-db", *words, "--skip-test-db", "--auth-root-authentication-method=socket")
        words += ["--skip-networking", f"--socket={database}", "--innodb-buffer-pool-size=64M"]
        words += ["--innodb-lock-wait-timeout=900", f"--log-error={self.folder}/log/mariadbd.log"]
        words += [f"--pid-file={self.folder}/run/mariadbd.pid"]
        server = subprocess.Popen(
            [shutil.which("mariadbd", path=PATH), *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        self.pids["mariadbd"] = server.pid
        wait_until(lambda: database.exists(), 60, "the database")
        self._daemon("slurmdbd", SLURM_CONF=str(self.conf), MYSQL_UNIX_PORT=str(database))
        wait_until(lambda: "Cluster" in run("sacctmgr", "list", "cluster", check=False), 60, "the accounting")

    def _write_settings(self) -> None:
        here, memory = self.folder, os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2**20 * 9 // 10
        for index in range(GPUS):
            # A card is a device file that Slurm only looks at; null devices do.
            os.mknod(here / "devices" / f"card{index}", 0o666 | 0o020000, os.makedev(1, 3))
        settings = f"""\
            ClusterName=lab
            SlurmctldHost={self.node}(127.0.0.1)
            CommunicationParameters=NoCtldInAddrAny,NoInAddrAny
            AuthType=auth/munge
            AuthInfo=socket={self.socket}
            SlurmUser=root
            SlurmdUser=root
            SlurmctldPidFile={here}/run/slurmctld.pid
            SlurmdPidFile={here}/run/slurmd.pid
            SlurmctldLogFile={here}/log/slurmctld.log
            SlurmdLogFile={here}/log/slurmd.log
            StateSaveLocation={here}/state
            SlurmdSpoolDir={here}/spool
            ProctrackType=proctrack/linuxproc
            TaskPlugin=task/none
            JobAcctGatherType=jobacct_gather/linux
            JobAcctGatherFrequency=task=1
            JobAcctGatherParams=OverMemoryKill
            SelectType=select/cons_tres
            SelectTypeParameters=CR_CPU_Memory
            GresTypes=gpu
            SlurmdParameters=config_overrides
            SchedulerParameters=batch_sched_delay=0,bf_interval=5
            MpiDefault=none
            SwitchType=switch/none
            ReturnToService=2
            AccountingStorageType=accounting_storage/slurmdbd
            AccountingStorageHost=127.0.0.1
            AccountingStoragePass=socket={self.socket}
            AccountingStorageTRES=gres/gpu
            AccountingStoreFlags=job_comment
            MailProg=/bin/true
            KillWait=5
            SlurmctldTimeout=30
            NodeName={self.node} NodeAddr=127.0.0.1 CPUs={CPUS} RealMemory={memory} Gres=gpu:{GPUS}
            PartitionName=cpu Nodes={self.node} Default=YES MaxTime=24:00:00
            PartitionName=gpu Nodes={self.node} MaxTime=24:00:00
            """
        accounting = f"""\
            DbdHost=localhost
            DbdAddr=127.0.0.1
            SlurmUser=root
            AuthType=auth/munge
            AuthInfo=socket={self.socket}
            PidFile={here}/run/slurmdbd.pid
            LogFile={here}/log/slurmdbd.log
            StorageType=accounting_storage/mysql
            StorageHost=localhost
            StorageUser=root
            StorageLoc=slurm_acct_db
            """
        cards = f"""\
            AutoDetect=off
            NodeName={self.node} Name=gpu File={here}/devices/card[0-{GPUS - 1}]
            """
        for name, text in (("slurm.conf", settings), ("slurmdbd.conf", accounting), ("gres.conf", cards)):
            path = here / "etc" / name
            path.write_text("".join(f"{line.strip()}\n" for line in text.splitlines()))
            path.chmod(0o600 if name == "slurmdbd.conf" else 0o644)
        ETC.mkdir(exist_ok=True)
        # Links that are there are those of a run that was killed (`why_not`).
        for link in LINKS:
            link.unlink(missing_ok=True)
            link.symlink_to(here / "etc" / link.name)


if __name__ == "__main__":
    reason = why_not()
    print(f"tests/slurm: left out, {reason}" if reason else "tests/slurm: a Slurm of this machine runs the smoke study")
