"""What two or more transports use: HTTP/1.1 heads, dialling, proxies, clocks, buffers."""
