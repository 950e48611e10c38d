"""The hosts of a launch, told by its driver, for whoever looks at the search from elsewhere."""

import json
from collections.abc import Collection, Sequence
from dataclasses import asdict

import sqlalchemy as sa
from sqlalchemy.engine import Engine

from studies.ledger import _tables as tables
from studies.records import HostLent
from studies.storage.patience import waits
from studies.storage.sql import upsert


@waits
def keep_hosts(engine: Engine, launch: str, hosts: Sequence[HostLent]) -> None:
    """Stores what a launch may use now, in the place of what it could before."""
    row = {"launch": launch, "text": json.dumps([asdict(host) for host in hosts])}
    with engine.begin() as connection:
        connection.execute(upsert(connection, tables.hosts, row, ["launch"]), row)


@waits
def hosts_of(engine: Engine, launches: Collection[str]) -> list[HostLent]:
    """What these launches may use, each host once, in order of the names; one that any of them uses is well."""
    wanted = sa.select(tables.hosts.c.text).where(tables.hosts.c.launch.in_(launches))
    with engine.connect() as connection:
        texts = connection.execute(wanted).scalars().all()
    told = [HostLent(**host) for text in texts for host in json.loads(text)]
    told.sort(key=lambda host: (host.host, host.reason is None, host.slots))
    return list({host.host: host for host in told}.values())
