"""Signed requests: RFC 9421 HTTP Message Signatures with `hmac-sha256` and RFC 9530 `Content-Digest`.

A peer and the server share a secret that neither stores: X25519 of one's private and the other's public key, made into
a MAC key with HKDF-SHA256 (RFC 5869). So each signature proves possession of the peer's private key, to this server
only. Covered are method, path, query and body; host and scheme are not, since proxies change them.

`created` and `nonce` let the verifier refuse what it has seen: `verify` checks the time, the caller the nonce. A nonce
is `INSTANCE.RANDOM`, where INSTANCE names the running process that the request is for, as the server-provided nonce of
RFC 9449 section 8 does: one that was restarted has forgotten what it saw, and takes nothing that was signed before.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from http_message_signatures import (
    HTTPMessageSigner,
    HTTPMessageVerifier,
    HTTPSignatureKeyResolver,
    algorithms,
)
from http_message_signatures.exceptions import HTTPMessageSignaturesException, InvalidSignature

from wireguard_mesh.model.errors import InvalidKey, NotPermitted
from wireguard_mesh.model.keys import PrivateKey, PublicKey

TAG: Final = "wireguard-mesh"
LABEL: Final = "mesh"
COMPONENTS: Final = ("@method", "@path", "@query", "content-digest")
MAX_SKEW_SECONDS: Final = 60
MIN_NONCE_LENGTH: Final = 16
MAX_NONCE_LENGTH: Final = 64
INSTANCE_HEADER: Final = "mesh-nonce"  # in each refusal that signing anew may help against
SIGNATURE_HEADERS: Final = ("signature", "signature-input", "content-digest")

_DIGEST: Final = '"content-digest"'
_REQUIRED: Final = frozenset(f'"{component}"' for component in COMPONENTS)
_CLAIMED_INSTANCE: Final = re.compile(r';nonce="([^".]*)\.[^".]*"')
_KEY_LENGTH: Final = 32  # of HMAC-SHA256, RFC 2104 section 3
_KEY_CONTEXT: Final = b"wireguard-mesh request signature 1"
_NO_LIMIT: Final = datetime.timedelta(days=10_000)


class SignatureRefused(NotPermitted):
    """The signature is missing, malformed or wrong."""

    code = "bad_signature"


class ClockSkew(NotPermitted):
    """Rightly signed, but at a time that is not now: sign again by the `Date` of this answer."""

    code = "clock_skew"


class StaleNonce(NotPermitted):
    """Rightly signed, but for another process: sign again with the `INSTANCE_HEADER` of this answer."""

    code = "stale_nonce"


@dataclass(frozen=True, slots=True)
class Signed:
    """Who signed a request. The nonce is the caller's to remember until `created` + 2 × `MAX_SKEW_SECONDS`."""

    public_key: PublicKey
    created: int
    nonce: str


@dataclass(slots=True)
class _Request:
    method: str
    url: str
    headers: dict[str, str] = field(default_factory=dict)


class _Keys(HTTPSignatureKeyResolver):
    def __init__(self, key_for: Callable[[str], bytes]) -> None:
        self._key_for = key_for

    def resolve_private_key(self, key_id: str) -> bytes:
        return self._key_for(key_id)

    def resolve_public_key(self, key_id: str) -> bytes:
        return self._key_for(key_id)


class _Verifier(HTTPMessageVerifier):
    # Time is judged here by the caller's clock, so the library's own look at the wall clock must never refuse.
    max_clock_skew = _NO_LIMIT


def make_nonce(instance: str, random: str) -> str:
    """The nonce of a request to the process `instance`; `random` has 16 characters or more, new ones each time."""
    return f"{instance}.{random}"


def request_key(ours: PrivateKey, theirs: PublicKey, *, peer: PublicKey, server: PublicKey) -> bytes:
    """The 32-byte MAC key that `peer` and `server` share. Costs one X25519 (some 50 µs): keep it."""
    kdf = HKDF(algorithm=SHA256(), length=_KEY_LENGTH, salt=None, info=_KEY_CONTEXT + peer.raw + server.raw)
    return kdf.derive(ours.exchange(theirs))


class Signer:
    """Signs a client's requests to one server."""

    def __init__(self, private_key: PrivateKey, server: PublicKey) -> None:
        public_key = private_key.public_key
        key = request_key(private_key, server, peer=public_key, server=server)
        self._key_id = public_key.to_base64()
        self._signer = HTTPMessageSigner(
            signature_algorithm=algorithms.HMAC_SHA256, key_resolver=_Keys(lambda _key_id: key)
        )

    def sign(self, method: str, target: str, body: bytes, *, now: float, nonce: str) -> dict[str, str]:
        """The headers that sign a request. `target` is path and query as sent; `nonce` is from `make_nonce`."""
        request = _Request(method, _url(target))
        self._signer.sign(
            request,
            key_id=self._key_id,
            created=datetime.datetime.fromtimestamp(int(now), datetime.UTC),
            nonce=nonce,
            label=LABEL,
            tag=TAG,
            covered_component_ids=COMPONENTS,
            body=body,
        )
        return {name.lower(): value for name, value in request.headers.items()}


class Verifier:
    """Verifies the requests that reach one server.

    `key_for` gives the MAC key of a public key; the caller caches, since it costs an X25519 each time.
    """

    def __init__(self, key_for: Callable[[PublicKey], bytes]) -> None:
        self._verifier = _Verifier(
            signature_algorithm=algorithms.HMAC_SHA256,
            key_resolver=_Keys(lambda key_id: key_for(PublicKey.from_base64(key_id))),
        )

    def verify(
        self,
        method: str,
        target: str,
        headers: Mapping[str, str],
        body: bytes,
        *,
        now: float,
        instance: str,
    ) -> Signed:
        """Who signed this request. `headers` are those of `SIGNATURE_HEADERS` that came, in lower case.

        Raises `SignatureRefused`, `ClockSkew` if it was signed more than `MAX_SKEW_SECONDS` from `now`, or `StaleNonce`
        if it was signed for another process than `instance`.
        """
        if _is_for_another(headers.get("signature-input", ""), instance):
            raise _stale_nonce()
        request = _Request(method, _url(target), dict(headers))
        try:
            (result,) = self._verifier.verify(request, max_age=None, expect_tag=TAG)
            # What is covered is looked at here: told to, the library reads each component's name three times more.
            if not result.covered_components.keys() >= _REQUIRED:
                raise InvalidSignature("a component is not covered")
            self._verifier.content_digest_class.verify(result.covered_components[_DIGEST], body)
            public_key = PublicKey.from_base64(str(result.parameters["keyid"]))
        except (HTTPMessageSignaturesException, InvalidKey, ValueError):
            # Not told apart: a forger learns nothing from which check it failed.
            raise SignatureRefused(
                "the signature is missing or wrong",
                "check that client and server know each other's right key",
            ) from None
        return _judge(public_key, result.parameters, now, instance)


def _judge(public_key: PublicKey, parameters: Mapping[str, Any], now: float, instance: str) -> Signed:
    created = int(parameters["created"])
    nonce = str(parameters.get("nonce", ""))
    if not MIN_NONCE_LENGTH <= len(nonce) <= MAX_NONCE_LENGTH:
        raise SignatureRefused(f"the nonce has {MIN_NONCE_LENGTH} to {MAX_NONCE_LENGTH} characters")
    if abs(created - now) > MAX_SKEW_SECONDS:
        raise ClockSkew(
            "the request was signed at another time than the server's", "sign it by the Date of this answer"
        )
    if nonce.rpartition(".")[0] != instance:
        raise _stale_nonce()
    return Signed(public_key, created, nonce)


def _is_for_another(signature_input: str, instance: str) -> bool:
    # Read without any care, and before any is taken: after a restart everybody's first request is for the process that
    # was, and the refusal tells only what `GET /v1/server` tells anybody.
    claimed = _CLAIMED_INSTANCE.search(signature_input)
    return claimed is not None and claimed[1] != instance


def _stale_nonce() -> StaleNonce:
    return StaleNonce(
        "the request was signed for another run of the server", f"sign it with the {INSTANCE_HEADER} of this answer"
    )


def _url(target: str) -> str:
    # Host and scheme are not covered; the library wants an absolute URL to take path and query from.
    return f"http://server{target}"
