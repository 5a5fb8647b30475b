"""Commands, flags and output of vpn-server and vpn-client."""
