"""The paper's preparation of real videos (supplement, section C): label, segment, filter, record."""
