"""A Ray node of the test's own, with the application on it. Ends with its standard input.

Says in lines of JSON what it was asked for in lines: `resident` of the engine.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import coe_on_ray
import ray
from ray import serve
from ray._common.usage import usage_lib


def main(composition: str, port: str) -> None:
    """Serve until nobody asks any more."""
    ray.init(
        num_cpus=4,  # of Ray's counting: nothing here waits for a processor of its own
        object_store_memory=80 * 1024 * 1024,
        include_dashboard=False,
        log_to_driver=True,
    )
    serve.start(proxy_location="HeadOnly", http_options={"host": "127.0.0.1", "port": int(port)})
    few = {"ray_actor_options": {"num_cpus": 0.1}}
    wanted = coe_on_ray.Wanted(
        config=Path(composition), gateways=2, engines=1, held=2, gateway=few, engine=few
    )
    serve.run(coe_on_ray.application(wanted), name="coe", route_prefix="/")
    engine = serve.get_deployment_handle("engine-embedded", app_name="coe")
    say({"reports": usage_lib.usage_stats_enabled()})
    for _ in sys.stdin:
        say({"resident": engine.resident.remote().result()})
    serve.shutdown()
    ray.shutdown()


def say(what: object) -> None:
    """Write one line."""
    sys.stdout.write(json.dumps(what) + "\n")
    sys.stdout.flush()


main(*sys.argv[1:])
