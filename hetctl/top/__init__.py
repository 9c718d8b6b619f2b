"""What a running server does now: its ``/metrics``, twice -> rates -> one frame to show."""
