"""Access to the hub: asked over a real socket, never waited for long."""

import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

from hetctl.doctor import hub
from hetctl.doctor.examination import examine
from tests.doctor.surroundings import surroundings


class Forbidden(BaseHTTPRequestHandler):
    def do_HEAD(self) -> None:
        self.send_response(403)
        self.end_headers()

    def log_message(self, *args: object) -> None:
        pass


def test_a_hub_that_answers_is_reachable_whatever_it_says() -> None:
    with HTTPServer(("127.0.0.1", 0), Forbidden) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        endpoint = f"http://127.0.0.1:{server.server_port}"
        found = hub.access(surroundings(HF_ENDPOINT=endpoint, HF_TOKEN="hf_secretsecretsecret"))
        server.shutdown()
    assert found.status == "pass"
    assert found.detail == f"{endpoint} answers; a token"


def test_offline_is_as_good_as_reachable() -> None:
    assert hub.access(surroundings(HF_HUB_OFFLINE="1")).status == "pass"
    assert "HF_HUB_OFFLINE" in hub.access(surroundings(HF_HUB_OFFLINE="yes")).detail


def test_an_unreachable_hub_is_a_warning_without_the_password_of_its_address() -> None:
    found = hub.access(surroundings(HF_ENDPOINT="http://me:pa55word@127.0.0.1:1"))
    assert found.status == "warn"
    assert "pa55word" not in f"{found.detail}{found.remedy}"
    assert hub.access(surroundings(HF_ENDPOINT="mirror.example")).status == "fail"


def test_a_hub_that_never_answers_is_not_waited_for() -> None:
    import socket

    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        endpoint = f"http://127.0.0.1:{silent.getsockname()[1]}"
        (found,) = examine(hub.CHECKS, surroundings(HF_ENDPOINT=endpoint))
    assert found.status == "warn"
