"""The server's I/O: sockets, the store's thread, signals.  All judgement is in ``core`` and ``wire``.

``server.py`` holds the lifecycle; ``foreground.py`` runs it as a process, ``background.py`` in a
thread; ``hub.py`` is where core, store and connections meet; ``link.py`` is one connection.
"""
