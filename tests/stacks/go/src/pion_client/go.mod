module pion_client

go 1.19
