# SPDX-License-Identifier: MIT
"""The Root VM boots and a user logs in and works. If these failed, nothing else would matter."""

from machine import Machine


def test_login(image, name):
    with Machine(name, image()) as m:
        m.login()
        assert m.check("readlink /proc/$$/exe").endswith("/zsh")
        assert m.check("cat /sys/class/tty/console/active").split()[-1] == "hvc0"
        assert m.check("tty") == "/dev/hvc0"
        assert m.check("id -un") == "root"
        assert m.check("""python -c 'print("hello")'""") == "hello"
        assert "linux" in m.check("cat /etc/diosix-release").lower()
