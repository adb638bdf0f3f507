"""Networks of agents: features extractors, teams, frozen features."""
