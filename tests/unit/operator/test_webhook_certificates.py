"""Whatever happens to replicas, requests and writes: what is served is trusted by what was published before."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError
from hypothesis import given, settings
from hypothesis import strategies as st

from mdev_operator.webhook.certificates import Lifetimes, State, dump, next_state, parse, split_bundle

HOSTS = ("webhook.ns.svc", "127.0.0.1")
START = datetime(2026, 1, 1, tzinfo=UTC)
LIVES = Lifetimes()


def due(state: State, at: timedelta, published: frozenset[bytes] | None = None, lives: Lifetimes = LIVES) -> State:
    """The state that is due ``at`` after the start; by default everything in it is published."""
    known = split_bundle(state.bundle) if published is None else published
    return next_state(state, now=START + at, published=known, hosts=HOSTS, lifetimes=lives)


def trusted(state: State, bundle: bytes, at: timedelta) -> bool:
    """Whether a client that trusts ``bundle`` accepts what is served."""
    assert state.serving is not None
    try:
        store = Store(x509.load_pem_x509_certificates(bundle))
        builder = PolicyBuilder().store(store).time(START + at)
        builder.build_server_verifier(x509.DNSName(HOSTS[0])).verify(state.serving.certificate, [])
    except (VerificationError, InvalidSignature):
        return False
    return True


def test_the_first_state_serves_what_its_own_bundle_trusts() -> None:
    first = due(State(), timedelta())

    assert len(first.authorities) == 1
    assert trusted(first, first.bundle, timedelta())


def test_nothing_is_due_on_the_next_day() -> None:
    first = due(State(), timedelta())

    assert due(first, timedelta(days=1)) == first


def test_a_serving_certificate_is_renewed_while_a_third_of_its_life_is_left() -> None:
    first = due(State(), timedelta())

    assert due(first, timedelta(days=59)) == first
    renewed = due(first, timedelta(days=61))
    assert renewed.authorities == first.authorities
    assert renewed.serving != first.serving


def test_a_new_authority_is_published_beside_the_old_one_before_it_issues() -> None:
    old = due(due(State(), timedelta()), timedelta(days=240))
    both = due(old, timedelta(days=244))
    assert both.authorities[:1] == old.authorities
    assert len(both.authorities) == 2
    assert trusted(both, old.bundle, timedelta(days=244))

    early = due(both, timedelta(days=244, minutes=59))
    assert early == both

    settled = due(both, timedelta(days=244, hours=2))
    assert not trusted(settled, old.bundle, timedelta(days=244, hours=2))
    assert trusted(settled, both.bundle, timedelta(days=244, hours=2))


def test_an_authority_that_is_not_published_everywhere_issues_nothing_however_old_it_is() -> None:
    old = due(due(State(), timedelta()), timedelta(days=240))
    both = due(old, timedelta(days=244))

    later = due(both, timedelta(days=250), published=split_bundle(old.bundle))

    assert later.serving == both.serving


def test_an_old_authority_is_trusted_until_it_expires() -> None:
    first = due(State(), timedelta())
    both = due(first, timedelta(days=244))

    assert due(both, timedelta(days=364)).authorities == both.authorities
    assert due(both, timedelta(days=366)).authorities == both.authorities[1:]


def test_other_hosts_get_another_certificate() -> None:
    first = due(State(), timedelta())

    moved = next_state(first, now=START, published=split_bundle(first.bundle), hosts=("other.ns.svc",), lifetimes=LIVES)

    assert moved.authorities == first.authorities
    assert not trusted(moved, moved.bundle, timedelta())


def test_a_state_is_kept_as_it_is() -> None:
    both = due(due(State(), timedelta()), timedelta(days=244))

    assert parse(dump(both)) == both
    assert dump(parse(dump(both))) == dump(both)


@pytest.mark.parametrize(
    "damage",
    [
        {"tls.key": b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n"},
        {"ca.key": b""},
        {"ca.crt": b"no PEM"},
        {"tls.crt": b""},
    ],
    ids=lambda damage: next(iter(damage)),
)
def test_a_damaged_secret_is_told_from_a_good_one(damage: dict[str, bytes]) -> None:
    good = dump(due(State(), timedelta()))

    with pytest.raises(ValueError, match="no certificates of ours"):
        parse(good | damage)


def test_the_key_of_another_certificate_is_refused() -> None:
    one, two = dump(due(State(), timedelta())), dump(due(State(), timedelta()))

    with pytest.raises(ValueError, match="does not belong"):
        parse(one | {"tls.key": two["tls.key"]})


def test_a_bundle_that_is_no_pem_names_nobody() -> None:
    assert split_bundle(b"") == split_bundle(b"nonsense") == frozenset()


@pytest.mark.parametrize("wrong", [{"settle": timedelta(days=100)}, {"serving": timedelta(days=200)}])
def test_lives_that_cannot_follow_each_other_are_refused(wrong: dict[str, timedelta]) -> None:
    with pytest.raises(ValueError, match="of an authority's life"):
        replace(LIVES, **wrong)


@settings(max_examples=25, deadline=None)
@given(
    turns=st.lists(
        st.tuples(st.floats(min_value=20, max_value=300), st.sampled_from("ab"), st.booleans()),
        min_size=50,
        max_size=70,
    )
)
def test_whatever_a_replica_serves_is_trusted_by_an_api_server_that_saw_the_last_change_and_by_one_that_did_not(
    turns: list[tuple[float, str, bool]],
) -> None:
    """Turns of two replicas, hours apart; a publication may fail, at most three times in a row."""
    kept, bundles, serving, failed, at = State(), [b""], dict[str, State](), 0, timedelta()
    for hours, replica, published in turns:
        at += timedelta(hours=hours)
        kept = due(kept, at, published=split_bundle(bundles[-1]))
        if not published and failed < 3:
            failed += 1
            continue
        failed = 0
        bundles.append(kept.bundle)
        serving[replica] = kept
        for shown in serving.values():
            assert shown.serving is not None
            alive = shown.serving.certificate.not_valid_after_utc > START + at
            for bundle in bundles[-2:]:
                assert not alive or not bundle or trusted(shown, bundle, at)
