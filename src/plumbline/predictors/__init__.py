"""Who answers: trained or untrained, a scan in, a centre of mass out."""
