# SPDX-License-Identifier: BSD-3-Clause
"""libpmbroker shares a process with other allocators, and with settings that are theirs: isolation.c and dlopen.c do
the work."""

import os
import subprocess
import sys

import pytest

from daemon import BUILD, IS_ROOT, broker, store, tenant

LIBRARY = BUILD / 'libpmbroker.so.0'
PROGRAMS = BUILD / 'tests/integration'
JEMALLOC = 'libjemalloc.so.2'
SANITIZED = b'__asan_init' in LIBRARY.read_bytes()  # sanitizers have a malloc of their own

# Everything that would be seen, or would end the process, if it were obeyed.
CONF = 'stats_print:true,narenas:7,dirty_decay_ms:0,retain:true,tcache:true,abort_conf:true,nonsense:true'
STATISTICS = 'Begin jemalloc statistics'


@pytest.fixture(scope='module')
def daemon(start_shared):
    return start_shared(broker(RequestsPerSecond=100000, RequestsBurst=100000), store('main', 'dir', '256M'),
                        tenant('default', Bytes='128M'))


def run(daemon, *argv, **env):
    done = subprocess.run([str(a) for a in argv], env={**os.environ, 'PMBROKER_SOCKET': daemon.socket, **env},
                          stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=50, check=False)
    assert done.returncode == 0, done.stdout
    return done.stdout


# ------------------------------------------------------------------------------------------------- whose malloc is it

def test_libc_malloc(daemon):
    if SANITIZED:
        pytest.skip('the sanitizer replaces malloc')
    assert run(daemon, PROGRAMS / 'isolation', 'malloc') == ''


def test_linked_jemalloc(daemon):
    if SANITIZED:
        pytest.skip('the sanitizer replaces malloc')
    assert run(daemon, PROGRAMS / 'isolation-jemalloc', 'malloc', JEMALLOC) == ''


def test_preloaded_jemalloc(daemon):
    if SANITIZED:
        pytest.skip('the sanitizer replaces malloc')
    assert run(daemon, PROGRAMS / 'isolation', 'malloc', JEMALLOC, LD_PRELOAD=JEMALLOC) == ''


# -------------------------------------------------------------------------------------------------- whose settings are

@pytest.mark.parametrize('name', ['MALLOC_CONF', 'PMBJ_MALLOC_CONF', 'pmbj_MALLOC_CONF'])
def test_environment_is_ignored(daemon, name):
    assert run(daemon, PROGRAMS / 'library', 'life', **{name: CONF}) == ''


def test_environment_is_for_the_application(daemon):
    """The same setting is obeyed by the application's own jemalloc, once, in the same process."""
    if SANITIZED:
        pytest.skip('the sanitizer replaces malloc')
    out = run(daemon, PROGRAMS / 'isolation', 'malloc', JEMALLOC, LD_PRELOAD=JEMALLOC, MALLOC_CONF='stats_print:true')
    assert out.count(STATISTICS) == 1


def test_etc_malloc_conf_is_ignored(daemon, tmp_path):
    if not IS_ROOT:
        pytest.skip('needs root: another /etc')
    if SANITIZED:
        pytest.skip('the sanitizer replaces malloc')
    script = f'''set -e
        mkdir {tmp_path}/etc
        cp -a /etc/passwd /etc/group /etc/nsswitch.conf /etc/ld.so.cache {tmp_path}/etc
        ln -s stats_print:true {tmp_path}/etc/malloc.conf
        mount --bind {tmp_path}/etc /etc
        "$@"'''
    shell = ['unshare', '--mount', 'sh', '-c', script, 'sh']
    assert run(daemon, *shell, PROGRAMS / 'library', 'life') == ''
    subprocess.run(['rm', '-r', str(tmp_path / 'etc')], check=True)
    out = run(daemon, *shell, 'env', f'LD_PRELOAD={JEMALLOC}', PROGRAMS / 'isolation', 'malloc', JEMALLOC)
    assert out.count(STATISTICS) >= 1  # so the file is where it is looked for


# ----------------------------------------------------------------------------------------------------------- threads

def test_destructors_of_threads(daemon):
    run(daemon, PROGRAMS / 'isolation', 'exit')


def test_two_thousand_threads(daemon):
    run(daemon, PROGRAMS / 'isolation', 'threads', 2000)


# ------------------------------------------------------------------------------------------------- loaded at run time

def test_dlopen(daemon):
    run(daemon, PROGRAMS / 'dlopen', LIBRARY)


CTYPES = '''
import ctypes, sys, threading
lib = ctypes.CDLL(sys.argv[1], use_errno=True)
lib.pmb_malloc.restype = lib.pmb_pool_of.restype = ctypes.c_void_p
lib.pmb_malloc.argtypes = [ctypes.c_void_p, ctypes.c_size_t]
lib.pmb_free.argtypes = [ctypes.c_void_p, ctypes.c_void_p]
lib.pmb_pool_of.argtypes = [ctypes.c_void_p]
class Options(ctypes.Structure):
    _fields_ = [('size', ctypes.c_uint64), ('max_size', ctypes.c_uint64), ('store', ctypes.c_char_p),
                ('name', ctypes.c_char_p), ('flags', ctypes.c_uint64)]
client, pool = ctypes.c_void_p(), ctypes.c_void_p()
assert lib.pmb_client_connect(None, 0, ctypes.byref(client)) == 0
assert lib.pmb_pool_create(client, ctypes.byref(Options(size=8 << 20, name=b'python')), ctypes.byref(pool)) == 0
def use():
    blocks = [lib.pmb_malloc(pool, 100) for i in range(1000)]
    assert all(lib.pmb_pool_of(b) == pool.value for b in blocks)
    ctypes.memset(blocks[0], 7, 100)
    for b in blocks:
        lib.pmb_free(pool, b)
use()
threads = [threading.Thread(target=use) for i in range(8)]
for t in threads: t.start()
for t in threads: t.join()
assert lib.pmb_malloc(pool, 9 << 20) is None and ctypes.get_errno() == 12
lib.pmb_pool_close(pool)
lib.pmb_client_unref(client)
'''


def test_ctypes(daemon):
    if SANITIZED:
        pytest.skip('the interpreter is not sanitized')
    run(daemon, sys.executable, '-c', CTYPES, LIBRARY)
