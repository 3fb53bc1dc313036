"""Row 7: reads are local.  The ratios to dict and list are those of ``benchmarks/reads.py``."""

from __future__ import annotations

import statistics

from .. import machine, reads, servers
from ..peers import KEYS, redis_client
from ..results import Figure, Result, Verdict, judge
from ..rounds import Missing, timed
from . import Scale

TITLE = "reads of SMap and SVec"
BOUNDS = {"m[k]": 2.0, "len(m)": 1.1, "len(v)": 1.1, "for k in m": 1.1, "for x in v": 1.1}


def run(scale: Scale) -> Result:
    result = Result(7, TITLE)
    machine.pin(machine.CLIENT_CORE)
    for name, ratio in reads.ratios(rounds=scale.pick(3, 31, 101)).items():
        result.figures.append(
            Figure(7, name, "SMap, SVec", "one", value=ratio, unit="x the builtin")
        )
        if name in BOUNDS:
            what = f"`{name}` <= {BOUNDS[name]}x the builtin"
            result.verdicts.append(judge(7, what, ratio, 1.0, BOUNDS[name], most=True))
    ours = reads.seconds_of("m[k]")
    result.figures.append(Figure(7, "m[k]", "SMap", "one", p50_us=1e6 * ours))
    try:
        with servers.redis_server(durable=False) as running:
            client = redis_client(running)
            client.hset("figures", KEYS[7], 7)
            machine.pin(machine.SERVER_CORES["separate"], [running.pid])
            times = timed(lambda i: client.hget("figures", KEYS[7]), scale.pick(100, 3000, 10_000))
    except Missing as missing:
        result.figures.append(Figure(7, "HGET", "redis", "", note=str(missing)))
        result.verdicts.append(Verdict(7, "`m[k]` >= 1,000x HGET", "not measured", None))
        return result
    theirs = statistics.median(times)
    result.figures.append(Figure(7, "HGET", "redis", "separate", p50_us=1e6 * theirs))
    result.verdicts.append(judge(7, "`m[k]` >= 1,000x HGET", theirs, ours, 1000, most=False))
    return result
