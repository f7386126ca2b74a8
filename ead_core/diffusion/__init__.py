"""The diffusion process with a noise level per atom: schedule, corruption, loss, posterior, policy, sampler."""
