"""`python -m wireguard_mesh.relay`, as `relay.supervisor` starts it."""

from wireguard_mesh.relay.process import main

if __name__ == "__main__":
    main()
