"""A ZooKeeper client and a real server on 127.0.0.1, for the scripts beside this file. Python 3 and Debian's package `zookeeper`."""

import os
import shutil
import signal
import socket
import struct
import subprocess
import tempfile
import time

JARS = "/usr/share/java"
SUPER = ("super:secret", "super:lK75jTNcA+U9vtVEw5vB51mj/w4=")


class Server:
    """A real standalone server on a copy of a data directory."""

    def __init__(self, data, port, keys=(), properties=()):
        self.home = tempfile.mkdtemp(prefix="zookeeper-")
        self.port = port
        self.data = os.path.join(self.home, "data")
        if data:
            shutil.copytree(data, self.data)
        else:
            os.makedirs(self.data)
        config = {"tickTime": 500, "dataDir": self.data, "clientPort": port, "maxClientCnxns": 0, "maxSessionTimeout": 60000,
                  "admin.enableServer": "false", "4lw.commands.whitelist": "*", **dict(keys)}
        path = os.path.join(self.home, "zoo.cfg")
        with open(path, "w") as file:
            file.writelines(f"{key}={value}\n" for key, value in config.items())
        properties = {"zookeeper.DigestAuthenticationProvider.superDigest": SUPER[1], "zookeeper.extendedTypesEnabled": "true",
                      "zookeeper.forceSync": "no", **dict(properties)}
        jars = ":".join(os.path.join(JARS, name) for name in sorted(os.listdir(JARS)) if name.endswith(".jar"))
        options = [f"-D{key}={value}" for key, value in properties.items()]
        self.log = open(os.path.join(self.home, "log"), "wb")
        self.process = subprocess.Popen(
            ["java", "-Xmx256m", *options, "-cp", jars, "org.apache.zookeeper.server.ZooKeeperServerMain", path],
            stdout=self.log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL)

    def wait(self, seconds=20):
        """Whether it serves; false if it gave up."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if self.process.poll() is not None:
                return False
            try:
                if "Mode:" in four_letters(self.port, "srvr"):
                    return True
            except OSError:
                pass
            time.sleep(0.1)
        return False

    def stop(self):
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.log.close()
        shutil.rmtree(self.home, ignore_errors=True)


def four_letters(port, word):
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(word.encode())
        parts = []
        while part := connection.recv(65536):
            parts.append(part)
        return b"".join(parts).decode()


def string(text):
    if text is None:
        return struct.pack(">i", -1)
    data = text if isinstance(text, bytes) else text.encode()
    return struct.pack(">i", len(data)) + data


STAT = ("czxid", "mzxid", "ctime", "mtime", "version", "cversion", "aversion", "ephemeral_owner", "data_length", "num_children",
        "pzxid")


class Reader:
    def __init__(self, data):
        self.data, self.at = data, 0

    def take(self, form):
        values = struct.unpack_from(">" + form, self.data, self.at)
        self.at += struct.calcsize(">" + form)
        return values if len(values) > 1 else values[0]

    def buffer(self):
        length = self.take("i")
        if length < 0:
            return None
        self.at += length
        return self.data[self.at - length:self.at]

    def string(self):
        data = self.buffer()
        return None if data is None else data.decode("utf-8", "surrogateescape")

    def strings(self):
        return [self.string() for _ in range(max(0, self.take("i")))]

    def stat(self):
        return dict(zip(STAT, self.take("qqqqiiiqiiq")))

    def acl(self):
        return [[self.take("i"), self.string(), self.string()] for _ in range(max(0, self.take("i")))]


class Client:
    """One connection: requests one at a time, events kept."""

    def __init__(self, port, timeout_ms=30000):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=5)
        self.xid, self.events = 0, []
        self.connect_request = struct.pack(">iqiq", 0, 0, timeout_ms, 0) + string(bytes(16)) + b"\0"
        self.send(self.connect_request)
        self.connect_reply = self.receive()

    def send(self, payload):
        self.socket.sendall(struct.pack(">i", len(payload)) + payload)

    def receive(self):
        def read(count):
            data = b""
            while len(data) < count:
                part = self.socket.recv(count - len(data))
                if not part:
                    raise ConnectionError("closed by the server")
                data += part
            return data
        return read(struct.unpack(">i", read(4))[0])

    def ask(self, op, body, xid=None):
        """Request and reply frames; (xid, zxid, err) and a reader of the body."""
        if xid is None:
            self.xid += 1
            xid = self.xid
        request = struct.pack(">ii", xid, op) + body
        self.send(request)
        before = []
        while True:
            frame = self.receive()
            reader = Reader(frame)
            header = reader.take("iqi")
            if header[0] == -1 and xid != -1:
                before.append(frame)
                continue
            return request, frame, header, reader, before

    def auth(self, scheme, proof):
        return self.ask(100, struct.pack(">i", 0) + string(scheme) + string(proof), -4)[2][2]

    def close(self):
        self.socket.close()
