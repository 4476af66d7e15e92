"""The systemd unit: systemd's own checks where it is installed, and ours everywhere."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from coe.settings import Settings

UNIT = Path(__file__).parents[2] / "deploy" / "coe.service"
LINE = re.compile(r"^(\w+)=(.*)$", re.MULTILINE)
PAIRS = LINE.findall(UNIT.read_text(encoding="utf-8"))
ENVIRONMENT = dict(value.split("=", 1) for key, value in PAIRS if key == "Environment")
SERVICE = {key: value for key, value in PAIRS if key != "Environment"}

analyze = shutil.which("systemd-analyze")
with_systemd = pytest.mark.skipif(analyze is None, reason="systemd-analyze is not installed")


@with_systemd
def test_systemd_knows_every_line(tmp_path: Path) -> None:
    # The program stands elsewhere here; everything else is as shipped.
    unit = tmp_path / "coe.service"
    text = UNIT.read_text(encoding="utf-8").replace("/opt/coe/.venv/bin/coe", "/bin/true")
    unit.write_text(text, encoding="utf-8")
    command = [str(analyze), "verify", "--man=no", str(unit)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    ours = [line for line in done.stderr.splitlines() if "coe.service" in line]
    assert (done.returncode, ours) == (0, [])


@with_systemd
def test_what_the_service_may_do_is_little() -> None:
    command = [str(analyze), "security", "--offline=true", "--threshold=20", str(UNIT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_its_settings_exist_and_lie_where_it_may_write() -> None:
    named = {name for name in ENVIRONMENT if name.startswith("COE_")}
    assert named <= {f"COE_{name.upper()}" for name in Settings.model_fields}
    assert ENVIRONMENT["COE_STATE_DIR"] == f"/var/lib/{SERVICE['StateDirectory']}"
    assert ENVIRONMENT["COE_CACHE_DIR"] == f"/var/cache/{SERVICE['CacheDirectory']}"


def test_nothing_is_told_to_the_makers_of_its_libraries() -> None:
    assert ENVIRONMENT["ORT_DISABLE_TELEMETRY"] == "1"


def test_it_waits_longer_than_requests_in_flight_may_take() -> None:
    fields = Settings.model_fields
    least_s = fields["drain_s"].default + fields["drain_notice_s"].default
    assert int(SERVICE["TimeoutStopSec"]) > least_s


def test_it_promises_no_readiness_that_it_does_not_send() -> None:
    assert SERVICE["Type"] == "exec"
