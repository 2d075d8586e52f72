# A server whose clients say in their first line what it is to do:
#
#     echo           send back what comes, to its end
#     count          read to the end, and say how much came
#     send N         send N bytes
#     reset          reset the connection
#     silent         say nothing, for as long as the other is there
#     http ...       (any other line) one HTTP answer
#
# It says its port on standard output, and ends with its standard input. A second
# port that it says is one whose queue is full: who connects there is not answered.
import os
import socket
import struct
import sys
import threading


def line_of(sock):
    line = b""
    while not line.endswith(b"\n"):
        byte = sock.recv(1)
        if not byte:
            break
        line += byte
    return line.decode("latin-1").split()


def echo(sock):
    while True:
        data = sock.recv(65536)
        if not data:
            return
        sock.sendall(data)


def count(sock):
    total = 0
    while True:
        data = sock.recv(65536)
        if not data:
            break
        total += len(data)
    sock.sendall(b"%d\n" % total)


def send(sock, size):
    piece = b"x" * 65536
    while size > 0:
        size -= sock.send(piece[:size])


def http(sock):
    sock.settimeout(1)
    sock.recv(65536)
    sock.sendall(b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello")


def serve(sock):
    try:
        words = line_of(sock) or [""]
        if words[0] == "echo":
            echo(sock)
        elif words[0] == "count":
            count(sock)
        elif words[0] == "send":
            send(sock, int(words[1]))
        elif words[0] == "reset":
            sock.setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
            )
        elif words[0] == "silent":
            sock.recv(1)
        else:
            http(sock)
    except OSError:
        pass
    finally:
        sock.close()


def fill_a_queue():
    full = socket.socket()
    full.bind(("127.0.0.1", 0))
    full.listen(0)
    waiting = [socket.socket() for _ in range(8)]
    for sock in waiting:
        sock.setblocking(False)
        sock.connect_ex(full.getsockname())
    return full, waiting


def main():
    full, _waiting = fill_a_queue()
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", 0))
    listener.listen(1024)
    print(listener.getsockname()[1], full.getsockname()[1], flush=True)

    def accept():
        while True:
            sock, _ = listener.accept()
            threading.Thread(target=serve, args=(sock,), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    sys.stdin.read()
    os._exit(0)


main()
