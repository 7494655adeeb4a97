from vidgan.cli.main import main

main()
