# SPDX-License-Identifier: BSD-3-Clause
"""pmbroker-protocol(7) is complete, agrees with the code, and its worked exchange is what the daemon answers."""

import contextlib
import errno
import os
import re
import subprocess

import pytest

from daemon import BUILD, PMBROKERD, broker
from pmbproto import MIB, ROOT, Client, pb

PAGE = (BUILD / 'man/pmbroker-protocol.7').read_text()
PROTO = (ROOT / 'proto/pmbroker.proto').read_text()
TYPES = {1: 'double', 4: 'uint64', 5: 'int32', 6: 'fixed64', 8: 'bool', 9: 'string', 13: 'uint32', 17: 'sint32'}


def source(name):
    return (ROOT / name).read_text()


# --------------------------------------------------------------------------------------------------- what there is

def described():
    """What the page has below MESSAGES: {title: [(number, name, type or None), ...]}."""
    found, title = {}, None
    for line in PAGE[PAGE.index('.SH MESSAGES'):].splitlines():
        if m := re.fullmatch(r'\.SS (.*)', line):
            title = m[1]
            assert title not in found
            found[title] = []
        elif m := re.fullmatch(r'\\fB(\d+)\\fR \\fI(\w+)\\fR(?: \(([\w ]+)\))?', line):
            found[title].append((int(m[1]), m[2], m[3]))
    return found


def type_of(field):
    name = (field.message_type or field.enum_type).name if field.message_type or field.enum_type else TYPES[field.type]
    return f'repeated {name}' if field.label == field.LABEL_REPEATED else name


def test_page_has_every_message_field_and_value():
    file = pb.DESCRIPTOR
    wanted = {name: [(f.number, f.name, type_of(f)) for f in m.fields] for name, m in file.message_types_by_name.items()}
    wanted |= {f'{name} (enumeration)': [(v.number, v.name, None) for v in e.values]
               for name, e in file.enum_types_by_name.items()}
    got = described()
    assert set(got) == set(wanted)
    for title, fields in wanted.items():
        assert sorted(got[title]) == sorted(fields), title


def test_page_says_all_that_the_specification_says():
    """No comment gets lost on the way: every word of each, in the same order."""
    def words(text):
        return re.findall(r'[A-Za-z0-9]+', text)

    page = ' '.join(words(re.sub(r'\\f[BIR]|\\\(mu|^\.\w\w\b', ' ', PAGE, flags=re.M)))
    comments = re.findall(r'//(.*)', PROTO[PROTO.index('// TRANSPORT'):])
    said = [c for c in comments if not c.startswith(' ---')]
    assert len(said) > 100
    lost = [c for c in said if ' '.join(words(c)) not in page]
    assert lost == []


def test_errors_have_the_errno_that_the_page_names():
    results = dict(re.findall(r'\[RESULT_(\w+)\] = \{"[\w-]+", (\w+)\}', source('proto/result.c')))
    named = dict(re.findall(r'^\\fB\d+\\fR \\fI(\w+)\\fR\n(E[A-Z0-9]+): ', PAGE, re.M))
    assert set(named) == set(pb.Code.keys()) - {'OK', 'FAILED'}
    assert all(hasattr(errno, name) for name in named.values())
    assert {code: results[code] for code in named} == named


def test_page_says_who_may_ask():
    """The comment of a request that takes a role begins with it."""
    roles = dict(re.findall(r'\{REQUEST\((\w+), \w+\), ROLE_(\w+),', source('daemon/ipc/service.c')))
    fields = pb.ClientPacket.DESCRIPTOR.oneofs_by_name['body'].fields
    assert set(roles) == {f.name.upper() for f in fields}
    begins = {'OWNER': '', 'ADMIN': 'Administrators only', 'OBSERVER': 'Administrators and observers'}
    for field in fields:
        text = PAGE[PAGE.index(f'.SS {field.message_type.name}\n'):].splitlines()[1]
        role = roles[field.name.upper()]
        assert text.startswith(begins[role]), field.name
        assert role != 'OWNER' or not text.startswith('Administrators'), field.name


# ----------------------------------------------------------------------------------------------------------- limits

def number(expression):
    """The value of a macro such as (UINT64_C(2) << 20)."""
    expression = re.sub(r'UINT64_C\((\d+)\)', r'\1', expression)
    assert re.fullmatch(r'[\d ()<]+', expression), expression
    return eval(expression)


def macros():
    found = {}
    for name in 'proto/wire.h', 'daemon/ipc/limits.h', 'daemon/core/pool.h':
        found |= dict(re.findall(r'^#define (\w+)\s+([(\d][^/\n]*?)\s*(?:/\*.*)?$', source(name), re.M))
    return found


def defaults():
    text = subprocess.run([PMBROKERD, '--check-config', '--config', os.devnull], capture_output=True, text=True,
                          check=True).stdout
    return dict(re.findall(r'^(\w+)=(.*)$', text, re.M))


def limits(kind):
    """(name, what the page says) of each limit of that kind."""
    return re.findall(rf'^\.\\" {kind} (\w+)\n\.TP.*\n\.B (\w+)$', PAGE, re.M)


def test_limits_are_those_of_the_code():
    values, told = macros(), limits('limit')
    assert len(told) == PAGE.count('.\\" limit ') == 12
    assert {name: int(n) for name, n in told} == {name: number(values[name]) for name, _ in told}
    # Each limit of the wire and of a session is told.
    assert {n for n in values if n.startswith(('WIRE_', 'LIMIT_'))} - {'WIRE_MAJOR', 'WIRE_MINOR'} <= dict(told).keys()


def test_settings_have_the_defaults_that_the_page_says():
    values, told = defaults(), limits('setting')
    assert len(told) == PAGE.count('.\\" setting ') == 8
    assert dict(told) == {name: values[name] for name, _ in told}


@pytest.mark.parametrize('pattern, macro', [
    (r'Client packets are at most (\d+) bytes', 'WIRE_CLIENT_MAX'),
    (r'server packets are at most (\d+) bytes', 'WIRE_SERVER_MAX'),
    (r'may take at most (\d+) KiB', 'WIRE_DECODE_BYTES'),
    (r'KiB and (\d+) allocations', 'WIRE_DECODE_ALLOCS'),
    (r'strings are at most (\d+) bytes', 'WIRE_STRING_MAX'),
    (r'towards the daemon, (\d+) towards the client', 'WIRE_SERVER_STRING_MAX'),
    (r'At most (\d+) requests of a session', 'LIMIT_IN_FLIGHT'),
    (r'results of the last (\d+) such requests', 'LIMIT_RESULTS'),
    (r'at most (\d+), ascending', 'WIRE_UNIT_RANGES_MAX'),
])
def test_rules_name_the_limits_of_the_code(pattern, macro):
    said = int(re.search(pattern, ' '.join(PAGE.split()))[1])
    assert said * (1024 if macro == 'WIRE_DECODE_BYTES' else 1) == number(macros()[macro])


# --------------------------------------------------------------------------------------------------------- exchange

def blocks(tag):
    return re.findall(rf'^\.\\" {tag}\n\.EX\n(.*?)\n\.EE$', PAGE, re.M | re.S)


def exchange():
    """('>' or '<', [byte, ...]) of each packet; a byte is two digits, '??', or 'ID'."""
    packets = []
    for line in '\n'.join(blocks('exchange')).splitlines():
        if line[0] in '<>':
            packets.append((line[0], line[1:].split()))
        else:
            packets[-1][1].extend(line.split())
    return packets


def test_exchange_is_what_the_daemon_says(start):
    configuration, = blocks('exchange configuration')
    daemon = start(broker(), configuration.replace('/tmp/pools', '@DIR@/store-here'))
    with contextlib.closing(Client(daemon.socket, hello=False)) as client:
        replay(client)


def replay(client):
    """Send what is sent in the page, compare what comes back."""
    packets = exchange()
    assert [way for way, _ in packets] == ['>', '<'] * 6
    pool, answered = None, []
    for way, wanted in packets:
        if way == '>':
            if wanted == packets[-2][1]:
                client.give_up(int.from_bytes(pool, 'little'))
            filled = ' '.join(wanted).replace(' '.join(['ID'] * 8), pool.hex(' ') if pool else '')
            client.send_raw(bytes.fromhex(filled))
            continue
        data, fds = client.recv_raw()
        message = pb.ServerPacket.FromString(data)
        answered.append(message.WhichOneof('body'))
        if answered[-1] == 'grant':
            assert len(fds) == 1 and os.fstat(fds[0]).st_size == 4 * MIB
            client.fds[message.grant.pool] = fds[0]
            pool = message.grant.pool.to_bytes(8, 'little')
        else:
            assert fds == []
        got = data.hex(' ').split()
        assert len(got) == len(wanted)
        ids = iter(pool or b'')
        for have, want in zip(got, wanted):
            assert have == (f'{next(ids):02x}' if want == 'ID' else have if want == '??' else want), (got, wanted)
    assert answered == ['hello', 'grant', 'error', 'size', 'size', 'done']
