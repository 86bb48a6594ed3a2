# SPDX-License-Identifier: BSD-3-Clause
"""What operators watch with, as it was installed: the metrics service, the journal, the doctor."""

import json
import re
import urllib.request

import pytest

from pmbproto import MIB
from system import ALICE, BROKER, ctl, is_active, journal_cursor, main_pid, run, show, systemctl, wait_for

METRICS = 'pmbroker-metrics.service'
CREATED, RELEASED = 'ef9107cb325d4f70ac6d4bda9b7f3c97', '6d3e95bc5d594887ad644559ca2458c2'


@pytest.fixture
def metrics(system):
    """The socket is there, the service is not; afterwards neither is."""
    systemctl('start', 'pmbroker-metrics.socket')
    yield
    systemctl('stop', 'pmbroker-metrics.socket', METRICS)


def scrape():
    with urllib.request.urlopen('http://127.0.0.1:9842/metrics', timeout=60) as response:
        assert response.headers['Content-Type'].startswith('application/openmetrics-text; version=1.0.0')
        return response.read().decode()


def test_metrics_service(system, metrics):
    """The first connection starts it; it is nobody whom anybody knows, and may look and nothing else."""
    assert is_active(METRICS) == 'inactive'
    pool = system.user(ALICE).create(8 * MIB)
    text = scrape()
    assert f'pmbroker_store_charged_bytes{{store="{pool.store}"}} {8 * MIB}\n' in text and text.endswith('# EOF\n')
    assert is_active(METRICS) == 'active'
    # A session for each scrape, and none in between.
    assert not any('metri' in row['command'] for row in json.loads(ctl('sessions', '-J'))['sessions'])
    status = open(f'/proc/{main_pid(METRICS)}/status').read()
    fields = dict(line.split(':\t', 1) for line in status.splitlines())
    uid = int(fields['Uid'].split()[0])
    assert 61184 <= uid <= 65519  # dynamic
    assert fields['CapEff'] == fields['CapBnd'] == '0000000000000000' and fields['NoNewPrivs'] == '1'
    assert scrape().count('\n') == text.count('\n')


def test_metrics_outlive_the_broker(system, metrics):
    scrape()
    systemctl('restart', BROKER)
    system.wait_until_ready()
    assert 'pmbroker_provisioner_connected 1\n' in scrape()


def test_metrics_unit_is_tight():
    out = run('systemd-analyze', 'security', '--no-pager', METRICS)
    line = out.rstrip().splitlines()[-1]
    print(line)
    assert float(re.search(r'([0-9.]+) [A-Z]+', line)[1]) <= 1.5, out
    assert run('systemd-analyze', 'verify', '--man=no', METRICS, 'pmbroker-metrics.socket') == ''


def test_records(system):
    cursor = journal_cursor()
    user = system.user(ALICE)
    pool = user.create(4 * MIB).pool
    user.drop(pool)

    def records():
        out = run('journalctl', '--after-cursor', cursor, '-u', BROKER, '-o', 'json', f'POOL_ID={pool:016x}')
        return [json.loads(line) for line in out.splitlines() if line.startswith('{')]
    wait_for(lambda: len(records()) == 2, 60)
    created, released = records()
    assert (created['MESSAGE_ID'], released['MESSAGE_ID']) == (CREATED, RELEASED)
    assert (created['BYTES'], created['UID'], created['_SYSTEMD_UNIT']) == (str(4 * MIB), str(ALICE), BROKER)
    verbose = run('journalctl', '--after-cursor', cursor, '-u', BROKER, '-o', 'verbose')
    for field in 'MESSAGE_ID', 'POOL_ID', 'TENANT', 'STORE', 'UID', 'PID', 'BYTES':
        assert re.search(rf'^    {field}=\S', verbose, re.M), field


def test_catalogue_is_installed():
    run('journalctl', '--update-catalog')
    assert 'Subject: Pool @POOL_ID@ was created' in run('journalctl', '--no-pager', '--dump-catalog', CREATED)


def test_reload_says_how_it_went(system):
    assert ctl('reload') == 'configuration read again\n'
    assert show(BROKER, 'ActiveState') == ['active']


def test_doctor(system):
    """Nothing fails on the machine that all other tests like."""
    findings = json.loads(ctl('check', '--json'))['findings']
    assert [f for f in findings if f['result'] == 'failure'] == []
    checks = {f['check']: f for f in findings}
    assert checks['units']['finding'] == 'pmbrokerd.socket is active' and checks['systemd']['result'] == 'ok'
    assert checks['provisioner']['finding'] == 'connected; a restart of it keeps all pools'
    assert checks['config']['result'] == 'ok' and checks['nofile']['finding'] == 'pmbrokerd may open 524288 files'
