"""The push: a WebSocket hub that turns result rows into updates for any number of clients.

`protocol` and `hub` are pure; `server` and `client` are sockets around them. The only package that
imports the WebSocket library. It is fed from the result topics, never from the store.
"""
