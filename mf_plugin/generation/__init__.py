"""What every generator shares: a plan goes in, a dataset folder comes out."""
