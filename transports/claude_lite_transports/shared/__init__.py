"""What two or more transports use: HTTP/1.1, connecting, proxies, options, clocks, buffers."""
