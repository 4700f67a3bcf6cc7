"""Target and options of the gRPC channel to a Triton server."""

CHANNEL_OPTIONS = (
    ("grpc.lb_policy_name", "round_robin"),
    # The spec bounds requests; the default limit for replies is 4 MiB.
    ("grpc.max_send_message_length", -1),
    ("grpc.max_receive_message_length", -1),
    # Servers treat pings more often than every 5 minutes, or without calls, as abuse.
    ("grpc.keepalive_time_ms", 310_000),
    ("grpc.keepalive_timeout_ms", 10_000),
    ("grpc.keepalive_permit_without_calls", 0),
    # A server that restarts, or that changes its address, is found again within seconds.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 1_000),
    ("grpc.max_reconnect_backoff_ms", 1_000),
    ("grpc.dns_min_time_between_resolutions_ms", 1_000),
    # TritonEngine retries by itself, and addresses inside the network need no proxy.
    ("grpc.enable_retries", 0),
    ("grpc.enable_http_proxy", 0),
)


def grpc_target(url: str) -> str:
    """Returns the gRPC target for the address `url` of a server.

    A host name gets the prefix `dns:///`, and each of its addresses is a replica. Lists that begin
    with `ipv4:` or `ipv6:` are returned unchanged.
    """
    return url if url.startswith(("ipv4:", "ipv6:")) else f"dns:///{url}"
