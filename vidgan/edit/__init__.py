"""From pictures back to latents, and what latents mean.

Everything here works with the differentiable generator of `generator.synthesis`, opened from
generator.safetensors. It knows neither films nor the training loop.
"""
