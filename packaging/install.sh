#!/bin/bash
# Installs or removes the programs and their systemd units. Called by make install and make uninstall.
#
#   [PREFIX=/usr/local] [DESTDIR=] [UNITDIR=/etc/systemd/system] packaging/install.sh install|uninstall
#
# With DESTDIR files are put below it and the running system is left alone. Keys, configuration and
# databases are the user's: uninstall says where they are and keeps them.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly prefix=${PREFIX:-/usr/local} destdir=${DESTDIR:-} unitdir=${UNITDIR:-/etc/systemd/system}
readonly bindir=$prefix/bin
readonly programs=(vpn-server vpn-client vpn-relay)

fail() {
    echo "install: $*" >&2
    exit 1
}

systemd_runs() { [ -z "$destdir" ] && [ -d /run/systemd/system ] && command -v systemctl >/dev/null; }

install_all() {
    local program
    for program in "${programs[@]}"; do
        [ -x "bin/$program" ] || fail "bin/$program is missing; run: make build"
    done
    install -d -m 0755 "$destdir$bindir" "$destdir$unitdir"
    for program in "${programs[@]}"; do
        install -m 0755 "bin/$program" "$destdir$bindir/$program"
        sed "s|^ExecStart=/usr/local/bin/|ExecStart=$bindir/|" "packaging/systemd/$program.service" \
            >"$destdir$unitdir/$program.service.new"
        chmod 0644 "$destdir$unitdir/$program.service.new"
        mv "$destdir$unitdir/$program.service.new" "$destdir$unitdir/$program.service"
    done
    echo "installed ${programs[*]} in $destdir$bindir, units in $destdir$unitdir"
    if systemd_runs; then
        systemctl daemon-reload
        echo "start the server:  systemctl enable --now vpn-server"
        echo "join a machine:    echo VPN_CLIENT_SERVER=http://SERVER:8080 >/etc/default/vpn-client &&" \
            "systemctl enable --now vpn-client"
        echo "a relay elsewhere: put VPN_RELAY_SERVER and VPN_RELAY_KEY into /etc/default/vpn-relay (mode 600) &&" \
            "systemctl enable --now vpn-relay"
    fi
}

uninstall_all() {
    local program
    # Tunnels outlive the agent by design: they are taken down while there is still a program that can.
    if [ -z "$destdir" ] && systemd_runs && systemctl --quiet is-active vpn-client 2>/dev/null; then
        "$bindir/vpn-client" down || echo "install: vpn-client down failed; its interface may still stand" >&2
    fi
    for program in "${programs[@]}"; do
        if systemd_runs && [ -e "$unitdir/$program.service" ]; then
            systemctl disable --now "$program" 2>/dev/null || true # it may never have been enabled
        fi
        rm -f "$destdir$unitdir/$program.service" "$destdir$bindir/$program"
        rm -rf "$destdir/var/cache/wireguard-mesh-${program#vpn-}" "$destdir/var/cache/private/wireguard-mesh-${program#vpn-}"
    done
    if systemd_runs; then systemctl daemon-reload; fi
    echo "removed ${programs[*]} and their units"
    echo "kept: ~/.config/wireguard-mesh, ~/.shiv, /var/lib/wireguard-mesh-*, /etc/default/vpn-*"
}

[ -n "$destdir" ] || [ "$(id -u)" -eq 0 ] || fail "run it as root (sudo make ${1:-install}), or set DESTDIR"
case ${1:-} in
    install) install_all ;;
    uninstall) uninstall_all ;;
    *) fail "usage: packaging/install.sh install|uninstall" ;;
esac
