"""Every exception that gcmedia raises.

::

    GcmediaError
    ├── ConfigError (ValueError)          a setting out of its range
    │   └── MissingCredentials            names the variable or argument that is missing
    ├── MediaError
    │   ├── PacketError (ValueError)      a packet that cannot be parsed
    │   ├── FormatError (ValueError)      an encoding, file or negotiated format that cannot be used
    │   └── MediaNotAvailable             an interaction is unknown, over for too long, or refused
    ├── ProtocolError
    │   ├── LocalProtocolError            we were about to break the protocol
    │   │   └── TooManyStreams            more interactions than the connections allowed can carry
    │   └── RemoteProtocolError           the server did
    ├── AuthError                         the token endpoint refused, or a token is not accepted
    │   ├── RateLimited                   429, and the time to wait is beyond what was allowed
    │   └── SignatureRefused              an upgrade request to this server is not let in
    ├── ApiError                          the platform's API refused a request
    │   ├── UserContextRequired           400: only a user's own token may do this
    │   ├── Forbidden                     403: a permission or scope is missing, or a policy forbids it
    │   ├── NotFound                      404
    │   │   └── StreamNotFound            the edge knows no such audio stream
    │   ├── Conflict                      409: the state is another than the request supposed
    │   ├── TooManyRequests               429: not before ``retry_after`` has passed
    │   └── CallEnded                     the call, or the agent's part in it, is over
    ├── TransportError
    │   ├── HandshakeError                the server answered the WebSocket upgrade with another status
    │   ├── ConnectionLost                the connection ended; code and reason as received
    │   └── ReconnectExhausted            every attempt allowed was made
    ├── MuteError                         a mute or unmute could not be done for sure
    │   ├── NoActiveCall                  the user has no call that could be muted
    │   ├── AmbiguousCall                 several would match, and no policy says which
    │   ├── InvalidAudioStateError        the call is in a state that allows no muting
    │   └── RetryExhausted                every attempt allowed was made
    └── StateError (RuntimeError)         an operation that the present state does not allow

Loss, lateness and malformed packets inside a stream are outcomes with counters, not exceptions.
Messages say what was wrong, where and how much; no message holds a token, a secret or audio.
"""

from __future__ import annotations


class GcmediaError(Exception):
    """The root of all errors of this library."""


class ConfigError(GcmediaError, ValueError):
    """A setting is out of its range or contradicts another."""


class MissingCredentials(ConfigError):
    """A credential was neither given nor found in the environment; the message names it."""


class MediaError(GcmediaError):
    """Audio that cannot be used."""


class PacketError(MediaError, ValueError):
    """A media packet cannot be parsed."""


class FormatError(MediaError, ValueError):
    """An encoding, a file or a negotiated format cannot be used."""


class MediaNotAvailable(MediaError):
    """The media of an interaction cannot be had.

    Attributes
    ----------
    interaction_id : str
        The interaction.
    code : str
        ``"notFound"``, ``"expired"`` (ended longer ago than media is kept), ``"mediaNotAvailable"`` or another code
        of the server.
    """

    def __init__(self, message: str, *, interaction_id: str, code: str) -> None:
        super().__init__(message)
        self.interaction_id = interaction_id
        self.code = code


class ProtocolError(GcmediaError):
    """The protocol of a dialect was broken."""


class LocalProtocolError(ProtocolError):
    """The call would have made us break the protocol."""


class TooManyStreams(LocalProtocolError):
    """More interactions than the connections allowed can carry."""


class RemoteProtocolError(ProtocolError):
    """The server sent something that the protocol does not allow.

    Attributes
    ----------
    status : int or None
        The status that an error message carried, when it carried one.
    code : str or None
        Its error code.
    """

    def __init__(self, message: str, *, status: int | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code


class AuthError(GcmediaError):
    """The token endpoint refused, or the server does not accept the token.

    Attributes
    ----------
    status : int or None
        HTTP status of the answer, or None when there was none.
    error : str or None
        OAuth ``error`` (RFC 6749 section 5.2) or the platform's ``code``.
    context_id : str or None
        ``contextId`` of the answer.
    correlation_id : str or None
        ``ININ-Correlation-Id`` of the answer, else its ``contextId``; support asks for it.
    retry_after : float or None
        Seconds that the server asked to wait.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int | None = None,
        error: str | None = None,
        context_id: str | None = None,
        correlation_id: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.error = error
        self.context_id = context_id
        self.correlation_id = correlation_id
        self.retry_after = retry_after


class RateLimited(AuthError):
    """The server asks to wait longer than the caller allowed, or as often as allowed."""


class SignatureRefused(AuthError):
    """An upgrade request to this server is not let in; what is told its sender is the status and nothing else.

    Attributes
    ----------
    outcome : str
        ``"failed"`` (the signature is wrong, or the key not known), ``"unsigned"``, ``"expired"``, ``"invalid"``
        (cannot be read), ``"precondition"`` (a rule of the protocol is broken), ``"unsupported"``, ``"replayed"`` or
        ``"overloaded"``.
    status : int
        HTTP status to answer with: 401; 400 for a request that names no session; 503 when overloaded.
    delay_s : float
        After its arrival, how long the request has to wait for the answer.
    """

    status: int

    def __init__(self, message: str, *, outcome: str, status: int = 401, delay_s: float = 0.0) -> None:
        super().__init__(message, status=status)
        self.outcome = outcome
        self.delay_s = delay_s


class ApiError(GcmediaError):
    """The platform's API answered a request with an error.

    A 401 is an `AuthError` instead: the token is what is wrong then, not the request.

    Attributes
    ----------
    status : int
        HTTP status of the answer.
    code : str or None
        The platform's ``code``, such as ``"not.found"``.
    params : dict of str to str
        What the platform filled into its message (``messageParams``): the permissions that are missing, for example.
    context_id : str or None
        ``contextId`` of the answer.
    correlation_id : str or None
        ``ININ-Correlation-Id`` of the answer, else its ``contextId``; support asks for it.
    retry_after : float or None
        Seconds that the server asked to wait.
    """

    def __init__(
        self,
        message: str,
        *,
        status: int,
        code: str | None = None,
        params: dict[str, str] | None = None,
        context_id: str | None = None,
        correlation_id: str | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.params = params or {}
        self.context_id = context_id
        self.correlation_id = correlation_id
        self.retry_after = retry_after

    @property
    def transient(self) -> bool:
        """Whether the same request may succeed later: 408, 429 and faults of the server but 501."""
        return self.status in (408, 429) or (self.status >= 500 and self.status != 501)


class UserContextRequired(ApiError):
    """400: only a user's own token may do this, and this one is of no user (``not.a.user``) or of another."""


class Forbidden(ApiError):
    """403: a permission (client credentials) or a scope (user grants) is missing, or a policy forbids it."""


class NotFound(ApiError):
    """404: there is no such thing, or it has ended."""


class StreamNotFound(NotFound):
    """The edge knows no audio stream of that id, or none at all when no id was given: the call may be over."""


class Conflict(ApiError):
    """409: the state is another than the request supposed; read it again before deciding."""


class TooManyRequests(ApiError):
    """429: the same again not before ``retry_after`` seconds have passed."""


class CallEnded(ApiError):
    """The call, or the agent's part in it, is over."""


class TransportError(GcmediaError):
    """A connection could not be made or kept."""


class HandshakeError(TransportError):
    """The server answered the WebSocket upgrade with a status other than 101.

    Attributes
    ----------
    status : int
        HTTP status of the answer.
    retry_after : float or None
        Seconds that the server asked to wait.
    """

    def __init__(self, message: str, *, status: int, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after = retry_after


class ConnectionLost(TransportError):
    """The connection ended.

    Attributes
    ----------
    code : int
        WebSocket close code; 1006 when no close frame was received (RFC 6455 section 7.1.5).
    reason : str
        Reason that the peer gave, often empty.
    """

    def __init__(self, message: str, *, code: int = 1006, reason: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason


class ReconnectExhausted(TransportError):
    """Every reconnect attempt that the policy allows has failed; ``__cause__`` is the last failure.

    Attributes
    ----------
    attempts : int
        Attempts made since the connection last carried media.
    """

    def __init__(self, message: str, *, attempts: int) -> None:
        super().__init__(message)
        self.attempts = attempts


class MuteError(GcmediaError):
    """A mute or unmute could not be done for sure."""


class NoActiveCall(MuteError):
    """The user has no call that could be muted; the message says what there is."""


class AmbiguousCall(MuteError):
    """Several calls or legs would match; choose a policy, or name one."""


class InvalidAudioStateError(MuteError):
    """The call is in a state that allows no muting.

    Attributes
    ----------
    state : str
        Where the call stands.
    expected : tuple of str
        The states that allow it.
    """

    def __init__(self, message: str, *, state: str, expected: tuple[str, ...]) -> None:
        super().__init__(message)
        self.state = state
        self.expected = expected


class RetryExhausted(MuteError):
    """Every attempt that the policy allows has failed; ``__cause__`` is the last failure.

    Attributes
    ----------
    attempts : int
        Requests made.
    """

    def __init__(self, message: str, *, attempts: int) -> None:
        super().__init__(message)
        self.attempts = attempts


class StateError(GcmediaError, RuntimeError):
    """The operation does not fit the present state; the message names both."""
