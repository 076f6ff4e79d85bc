module kt.io/testbed/shop

go 1.21
