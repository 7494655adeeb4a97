"""The verbs that edit: from pictures to latents, and what latents mean."""
