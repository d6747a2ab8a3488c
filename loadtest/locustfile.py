"""Locust users of the chat API: `ChatSubscriber` listens in rooms, `MutationPublisher` writes into them.

    locust -f loadtest/locustfile.py --host http://127.0.0.1:8080 --api-key KEY --publisher-key KEY

The metric `deliver` is the time from sending the publish request to receiving the event, one sample per delivery.
Every delivery that is due and missing, and every one that is doubled, stray or out of order, is a failure of it, so
that a headless run with any of them exits with 1. Each locust process has rooms of its own and checks those, hence
a distributed test needs nothing more.
"""

from __future__ import annotations

import itertools
import logging
import random
import secrets
import threading
import time
from datetime import UTC, datetime
from typing import Any

from locust import FastHttpUser, User, between, events, task
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment
from locust.runners import WorkerRunner

from loadtest import chat
from loadtest.ledger import Ledger
from loadtest.subscriber import Delivery, Subscriber, SubscriberError

logger = logging.getLogger("loadtest")

_DEFAULT_HOST = "http://127.0.0.1:8080"
_SWEEP_INTERVAL_S = 0.5


class DeliveryFault(Exception):
    """A delivery that was not as it has to be; locust counts failures by this text, so it holds no key."""


class Books:
    """The ledger of this process and what its users share. A new one is made for every test."""

    def __init__(self, environment: Environment) -> None:
        options: Any = environment.parsed_options
        self._request_hook: Any = environment.events.request
        self.ledger = Ledger(patience_s=options.patience)
        self.prefix = secrets.token_hex(4)
        self.rooms = [f"{self.prefix}-room-{number}" for number in range(options.rooms)]
        self.numbers = itertools.count(1)
        self.is_stopping = False
        self.requests_under_way = 0

    def take_name(self, kind: str) -> str:
        """A name that nothing else in the whole test has."""
        return f"{self.prefix}-{kind}-{next(self.numbers)}"

    def record(self, name: str, began: float, fault: Exception | None = None, size: int = 0) -> None:
        """One sample of a WebSocket metric, taken now."""
        elapsed_ms = (time.perf_counter() - began) * 1000
        self.fire(name, elapsed_ms, fault, size)

    def fire(self, name: str, elapsed_ms: float, fault: Exception | None, size: int = 0) -> None:
        """Hand one sample to locust."""
        self._request_hook.fire(
            request_type="WS",
            name=name,
            response_time=elapsed_ms,
            response_length=size,
            exception=fault,
            context={},
        )

    def book(self, delivery: Delivery) -> None:
        """Judge one delivery and record it."""
        try:
            key = chat.read_key(delivery.payload)
        except ValueError as error:
            self.fire("deliver", 0, DeliveryFault(str(error)), delivery.size)
            return
        receipt = self.ledger.receive(delivery.id, key, time.perf_counter())
        fault = None if receipt.fault is None else DeliveryFault(receipt.fault.value)
        if fault is not None:
            logger.error("%s: event %s at subscription %s", fault, key, delivery.id)
        self.fire("deliver", (receipt.latency_s or 0) * 1000, fault, delivery.size)

    def report_overdue(self, now: float) -> None:
        """Record what has become missing by `now`."""
        for missing in self.ledger.overdue(now):
            logger.error("missing: event %s at subscription %s", missing.key, missing.subscription)
            self.fire("deliver", self.ledger.patience_s * 1000, DeliveryFault("missing"))


_books: Books | None = None


def _current_books() -> Books:
    if _books is None:
        raise RuntimeError("no test is running")
    return _books


class ChatSubscriber(User):
    """Listens to one room after the other over one connection, each for a random while around `--stay`."""

    host = _DEFAULT_HOST
    weight = 5

    def on_start(self) -> None:
        """Called by locust when the user begins."""
        self.books = _current_books()
        self._subscriber: Subscriber | None = None
        self._subscription: str | None = None
        self._leave_at = 0.0

    def on_stop(self) -> None:
        """Called by locust when the user ends."""
        self._hang_up()

    @task
    def listen(self) -> None:
        """Connect or move on if it is time, then take what comes for a moment."""
        try:
            if self._subscriber is None:
                self._connect()
            elif self._subscription is None:
                self._enter_room()
            elif time.monotonic() >= self._leave_at and not self.books.is_stopping:
                self._leave_room()
            else:
                self._take(timeout_s=0.5)
        except SubscriberError as error:
            logger.error("subscriber: %s", error)
            self.books.fire("connection", 0, error)
            self._hang_up()
            time.sleep(1)  # do not storm a service that is going away

    def _connect(self) -> None:
        options = self.environment.parsed_options
        subscriber = Subscriber(f"{self.host}/graphql", options.api_key)
        began = time.perf_counter()
        self._subscriber = subscriber
        subscriber.connect()
        self.books.record("connect", began)

    def _enter_room(self) -> None:
        assert self._subscriber is not None
        room = random.choice(self.books.rooms)
        subscription = self.books.take_name("subscription")
        began = time.perf_counter()
        self._subscriber.subscribe(subscription, chat.SUBSCRIBE, {"roomId": room})
        self.books.record("subscribe", began)
        self.books.ledger.join(subscription, room)
        self._subscription = subscription
        self._leave_at = time.monotonic() + random.uniform(0.5, 1.5) * self.environment.parsed_options.stay

    def _leave_room(self) -> None:
        assert self._subscriber is not None
        assert self._subscription is not None
        self.books.ledger.leave(self._subscription)
        began = time.perf_counter()
        self._subscriber.unsubscribe(self._subscription)
        self.books.record("unsubscribe", began)
        while self._take(timeout_s=0):
            pass  # what came before the `complete` belongs to this subscription
        self.books.ledger.forget(self._subscription)
        self._subscription = None

    def _take(self, timeout_s: float) -> bool:
        assert self._subscriber is not None
        delivery = self._subscriber.receive(timeout_s)
        if delivery is not None:
            self.books.book(delivery)
        return delivery is not None

    def _hang_up(self) -> None:
        if self._subscription is not None:
            self.books.ledger.forget(self._subscription)
            self._subscription = None
        if self._subscriber is not None:
            self._subscriber.close()
            self._subscriber = None


class MutationPublisher(FastHttpUser):
    """Publishes messages into random rooms, by turns through `POST /events` and as a GraphQL mutation."""

    host = _DEFAULT_HOST
    weight = 1
    wait_time = between(0.05, 0.15)

    @task
    def publish_event(self) -> None:
        """A finished event, as a service that has its own API sends it."""
        key, room = self._draw()
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        self._publish("/events", key, room, chat.build_event(key, room, now), 202)

    @task
    def publish_mutation(self) -> None:
        """A GraphQL mutation, as a client of the API sends it."""
        key, room = self._draw()
        self._publish("/graphql", key, room, chat.build_mutation(key, room), 200)

    def _draw(self) -> tuple[str, str]:
        books = _current_books()
        return books.take_name("message"), random.choice(books.rooms)

    def _publish(self, path: str, key: str, room: str, body: dict[str, Any], expected_status: int) -> None:
        books = _current_books()
        if books.is_stopping:
            return
        options = self.environment.parsed_options
        api_key = options.publisher_key if path == "/events" else options.api_key
        books.ledger.begin(key, room, time.perf_counter())
        books.requests_under_way += 1
        is_published = False
        try:
            with self.client.post(path, json=body, headers={"x-api-key": api_key}, catch_response=True) as response:
                if response.status_code != expected_status:
                    response.failure(f"status {response.status_code}: {(response.text or '')[:300]}")
                elif path == "/graphql" and (response.json() or {}).get("errors"):
                    response.failure(f"errors: {(response.text or '')[:300]}")
                else:
                    response.success()
                    is_published = True
        finally:
            books.requests_under_way -= 1
            if is_published:
                books.ledger.finish(key, time.perf_counter())
            else:
                books.ledger.abandon(key)


def _add_options(parser: LocustArgumentParser) -> None:
    # Not in an argument group, whose arguments locust cannot mark as secret in its web page.
    parser.add_argument("--rooms", type=int, default=10, env_var="LOADTEST_ROOMS", help="Rooms per locust process")
    parser.add_argument("--stay", type=float, default=8.0, env_var="LOADTEST_STAY", help="Mean seconds in a room")
    parser.add_argument(
        "--patience", type=float, default=5.0, env_var="LOADTEST_PATIENCE", help="Seconds until a delivery is missing"
    )
    for name, what in (("api-key", "subscriptions and /graphql"), ("publisher-key", "/events")):
        variable = f"LOADTEST_{name.upper().replace('-', '_')}"
        parser.add_argument(f"--{name}", type=str, default="", env_var=variable, help=f"Key for {what}", is_secret=True)


def _open_books(environment: Environment, **_: Any) -> None:
    global _books
    books = _books = Books(environment)

    def sweep() -> None:
        while _books is books and not books.is_stopping:
            books.report_overdue(time.perf_counter())
            time.sleep(_SWEEP_INTERVAL_S)

    # A greenlet, since locust has patched threading.
    threading.Thread(target=sweep, daemon=True).start()


def _settle(**_: Any) -> None:
    """Stop publishing, and leave the subscribers time for what is on its way; locust ends the users after this."""
    books = _books
    if books is None:
        return  # the web page was left without a test
    books.is_stopping = True
    deadline = time.monotonic() + books.ledger.patience_s
    while (books.requests_under_way or books.ledger.outstanding) and time.monotonic() < deadline:
        time.sleep(0.05)
    books.report_overdue(float("inf"))


def _fail_without_deliveries(environment: Environment, **_: Any) -> None:
    """A headless run in which nothing was delivered has shown nothing: it fails."""
    options = environment.parsed_options
    if isinstance(environment.runner, WorkerRunner) or options is None or not options.headless:
        return
    if environment.stats.get("deliver", "WS").num_requests == 0:
        logger.error("no event was delivered")
        environment.process_exit_code = 1


# Typed as Any: locust's hooks have no annotations.
_hooks: Any = events
_hooks.init_command_line_parser.add_listener(_add_options)
_hooks.test_start.add_listener(_open_books)
_hooks.test_stopping.add_listener(_settle)
_hooks.quitting.add_listener(_fail_without_deliveries)
