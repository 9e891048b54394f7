"""Import of NIR, the exchange format of spiking networks: from a file or records to float populations. No torch."""
