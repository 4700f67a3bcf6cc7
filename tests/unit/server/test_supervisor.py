from silhouette_seg.server.supervisor import MAX_DELAY_S, MAX_RESTARTS, restart_delay_s


def test_first_restart_follows_at_once_and_later_ones_wait_longer():
    delays = [restart_delay_s(restarts) for restarts in range(MAX_RESTARTS)]
    assert delays[:4] == [0.0, 0.5, 1.0, 2.0]
    assert delays[-1] == MAX_DELAY_S
