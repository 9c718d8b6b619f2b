"""What the machine did while a load ran: clocks, power, loads, memory, energy."""
